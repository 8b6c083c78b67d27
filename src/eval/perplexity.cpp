#include "eval/perplexity.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <numeric>

#include "base/error.h"
#include "eval/shared_batches.h"
#include "eval/statistics.h"

namespace troupe {
namespace {

constexpr int64_t kBatchTokens = 4096;
PerplexityOptions resolve(PerplexityOptions options, const ModelConfig& config) {
  if (options.context == 0) options.context = config.context;
  if (config.positions == Positions::kLearned && options.context > config.context)
    fail(ErrorCode::kUsage, "--context: expected at most {} (the model has learned positions for no more), got {}",
         config.context, options.context);
  if (options.stride == 0)
    options.stride = options.mode == WindowMode::kSliding ? std::max<int64_t>(1, options.context / 2) : options.context;
  if (options.batch_sequences == 0) options.batch_sequences = std::max<int64_t>(1, kBatchTokens / options.context);
  return options;
}

// Adds the row's scores to the documents that its tokens belong to.
void add_row(const EvalText& text, const Window& window, std::span<const float> nll, PerplexityResult& result) {
  auto document = static_cast<size_t>(std::upper_bound(text.begin.begin(), text.begin.end(), window.scored) -
                                      text.begin.begin() - 1);
  for (int64_t token = window.scored; token < window.end; ++token) {
    while (token >= text.begin[document + 1]) ++document;
    const float value = nll[static_cast<size_t>(token - window.begin)];
    if (!std::isfinite(value))
      fail(ErrorCode::kNonFinite, "{}: document {}: token {}: expected a finite log-probability, got {}", text.name,
           document, token - text.begin[document], -value);
    result.documents[document].nll += value;
    ++result.documents[document].tokens;
  }
}

}  // namespace

double PerplexityResult::perplexity() const { return std::exp(nll()); }

double PerplexityResult::bits_per_byte() const {
  return bytes > 0 ? sum.nll / std::numbers::ln2 / static_cast<double>(bytes) : kNan;
}

double PerplexityResult::standard_error() const {
  std::vector<double> sums;
  std::vector<int64_t> tokens;
  for (const DocumentScore& document : documents) sums.push_back(document.nll), tokens.push_back(document.tokens);
  return ratio_of(sums, tokens).standard_error;
}

double PerplexityResult::half_interval() const {
  return half_interval95(standard_error(), static_cast<int64_t>(documents.size()));
}

DocumentScores PerplexityResult::document_scores() const {
  DocumentScores scores;
  for (const DocumentScore& document : documents) scores.emplace_back(document.nll, document.tokens);
  return scores;
}

BatchPlan plan_batches(const EvalText& text, const PerplexityOptions& given, const ModelConfig& config) {
  const PerplexityOptions options = resolve(given, config);
  BatchPlan plan;
  std::vector<int64_t> order;
  if (options.fairseq) {
    plan.windows = cut_fairseq_windows(text.tokens(), options.context, options.context_window);
    if (options.context_window == 0) order = fairseq_order(plan.windows);
    if (config.moe.num_experts > 0) plan.width = options.context;
  } else {
    plan.windows = cut_windows(text, options.mode, options.context, options.stride);
  }
  if (order.empty()) {
    order.resize(plan.windows.size());
    std::iota(order.begin(), order.end(), 0);
    // Longest first, so that rows of a batch are equally long and memory is largest at the start.
    if (!options.fairseq)
      std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) {
        return plan.windows[static_cast<size_t>(a)].length() > plan.windows[static_cast<size_t>(b)].length();
      });
  }
  const int64_t budget = options.batch_sequences * options.context;
  for (size_t i = 0; i < order.size();) {
    // With nothing dropped a batch of short rows may hold more of them; a capacity rule counts on the number.
    const int64_t rows = options.capacity.kind == CapacityRule::kDropless && !options.fairseq
                             ? budget / plan.windows[static_cast<size_t>(order[i])].length()
                             : options.batch_sequences;
    const size_t end = std::min(order.size(), i + static_cast<size_t>(std::max<int64_t>(rows, 1)));
    plan.batches.emplace_back(order.begin() + static_cast<int64_t>(i), order.begin() + static_cast<int64_t>(end));
    i = end;
  }
  return plan;
}

Batch make_batch(const EvalText& text, std::span<const Window> windows, std::span<const int64_t> rows, int64_t width,
                 const ModelConfig& config) {
  for (const int64_t row : rows) width = std::max(width, windows[static_cast<size_t>(row)].length());
  const int32_t filler = static_cast<int32_t>(config.pad_id >= 0 ? config.pad_id : std::max<int64_t>(config.eos_id, 0));
  Batch batch{.B = static_cast<int64_t>(rows.size()), .S = width};
  batch.src.assign(static_cast<size_t>(batch.tokens()), filler);
  batch.tgt.assign(static_cast<size_t>(batch.tokens()), -1);
  for (size_t row = 0; row < rows.size(); ++row) {
    const Window& window = windows[static_cast<size_t>(rows[row])];
    int32_t* src = batch.src.data() + static_cast<int64_t>(row) * width;
    int32_t* tgt = batch.tgt.data() + static_cast<int64_t>(row) * width;
    src[0] =
        window.starts_document ? static_cast<int32_t>(config.eos_id) : text.ids[static_cast<size_t>(window.begin - 1)];
    std::copy(text.ids.begin() + window.begin, text.ids.begin() + window.end - 1, src + 1);
    std::copy(text.ids.begin() + window.scored, text.ids.begin() + window.end, tgt + (window.scored - window.begin));
  }
  return batch;
}

void check_eval_text(const EvalText& text, const ModelConfig& config) {
  if (config.eos_id < 0)
    fail(ErrorCode::kUsage, "{}: expected a model with an end-of-text token (model.eos_id) to start from, got none",
         text.name);
  const auto worst = std::max_element(text.ids.begin(), text.ids.end());
  if (worst == text.ids.end()) fail(ErrorCode::kData, "{}: expected at least one token, got none", text.name);
  if (*worst >= config.vocab_size)
    fail(ErrorCode::kData, "{}: token {}: expected an id < {} (the model's vocab_size), got {}", text.name,
         worst - text.ids.begin(), config.vocab_size, *worst);
  if (const auto pad = std::find(text.ids.begin(), text.ids.end(), static_cast<int32_t>(config.pad_id));
      config.pad_id >= 0 && pad != text.ids.end())
    fail(ErrorCode::kData, "{}: token {}: expected text, got the model's padding token {}", text.name,
         pad - text.ids.begin(), config.pad_id);
}

PerplexityResult evaluate_perplexity(LanguageModel& model, const EvalText& text, const PerplexityOptions& given,
                                     const ScoreProgress& progress) {
  const ModelConfig& config = model.config();
  const PerplexityOptions options = resolve(given, config);
  check_eval_text(text, config);
  PerplexityResult result{
      .bytes = text.bytes(), .context = options.context, .batch_sequences = options.batch_sequences};
  result.documents.resize(static_cast<size_t>(text.documents()));
  for (size_t document = 0; document < text.document_bytes.size(); ++document)
    result.documents[document].bytes = text.document_bytes[document];

  const BatchPlan plan = plan_batches(text, options, config);
  const auto L = static_cast<size_t>(config.num_moe_layers()), E = L > 0 ? static_cast<size_t>(config.moe.num_experts) : 0;
  std::vector<int64_t> routed(2 + L * E, 0);  // choices, dropped ones, rows by layer and expert
  int64_t done = 0;
  auto next = plan.batches.begin();
  SharedBatches<float> batches(options.ranks, [&](const std::vector<float>& nll) {
    const std::vector<int64_t>& rows = *next++;
    const size_t width = nll.size() / rows.size();
    for (size_t row = 0; row < rows.size(); ++row)
      add_row(text, plan.windows[static_cast<size_t>(rows[row])], std::span(nll).subspan(row * width), result);
    done += static_cast<int64_t>(rows.size());
    if (progress) progress(done, static_cast<int64_t>(plan.windows.size()));
  });
  for (const std::vector<int64_t>& rows : plan.batches)
    batches.add([&](std::vector<float>& nll) {
      const Batch batch = make_batch(text, plan.windows, rows, plan.width, config);
      nll.resize(static_cast<size_t>(batch.tokens()));
      const LossSum sum = model.score(batch, {.capacity = options.capacity}, nll);
      routed[0] += sum.choices, routed[1] += sum.dropped;
      size_t at = 2;
      for (const RouterStats& layer : model.router_stats())
        for (const int64_t load : layer.load_E) routed[at++] += load;
    });
  batches.finish();
  if (options.ranks) options.ranks->sum(std::span(routed), "scores");
  result.sum.choices = routed[0], result.sum.dropped = routed[1];
  for (size_t layer = 0; layer < L; ++layer) {
    const auto begin = routed.begin() + static_cast<std::ptrdiff_t>(2 + layer * E);
    result.load_LE.emplace_back(begin, begin + static_cast<std::ptrdiff_t>(E));
  }
  for (const DocumentScore& document : result.documents)
    result.sum.nll += document.nll, result.sum.tokens += document.tokens;
  result.sum.total = result.sum.nll;
  return result;
}

}  // namespace troupe
