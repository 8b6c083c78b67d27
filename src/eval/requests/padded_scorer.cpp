#include "eval/requests/padded_scorer.h"

#include <algorithm>
#include <vector>

namespace troupe {
namespace {

struct PaddedRow {
  const Group* group;
  const Piece* piece;
  int64_t length() const { return static_cast<int64_t>(group->context.size() + piece->continuation.size()) - 1; }
  bool is_last_of_group() const { return piece == &group->pieces.back(); }
};

void score_rows(LanguageModel& model, std::span<const PaddedRow> rows, const RequestOptions& options, Sink& sink) {
  const ModelConfig& config = model.config();
  const auto filler = static_cast<int32_t>(config.pad_id >= 0 ? config.pad_id : std::max<int64_t>(config.eos_id, 0));
  Batch batch{.B = static_cast<int64_t>(rows.size()), .S = rows.front().length()};
  batch.src.assign(static_cast<size_t>(batch.tokens()), filler);
  batch.tgt.assign(static_cast<size_t>(batch.tokens()), -1);
  for (size_t i = 0; i < rows.size(); ++i) {
    const std::vector<int32_t>&context = rows[i].group->context, &continuation = rows[i].piece->continuation;
    const auto at = static_cast<std::ptrdiff_t>(i) * batch.S;
    std::copy(context.begin(), context.end(), batch.src.begin() + at);
    const auto scored = at + static_cast<std::ptrdiff_t>(context.size());
    std::copy(continuation.begin(), continuation.end() - 1, batch.src.begin() + scored);
    std::copy(continuation.begin(), continuation.end(), batch.tgt.begin() + scored - 1);
  }
  std::vector<float> nll(batch.src.size());
  std::vector<int32_t> argmax(batch.src.size());
  sink.routed(model.score(batch, {.capacity = options.capacity}, nll, argmax));
  sink.ran(batch.tokens());
  for (size_t i = 0; i < rows.size(); ++i) {
    const size_t first = i * static_cast<size_t>(batch.S) + rows[i].group->context.size() - 1;
    double logprob = 0.0;
    bool is_greedy = true;
    for (size_t t = 0; t < rows[i].piece->continuation.size(); ++t) {
      logprob -= static_cast<double>(nll[first + t]);
      is_greedy = is_greedy && argmax[first + t] == rows[i].piece->continuation[t];
    }
    sink.add(*rows[i].piece, logprob, is_greedy);
  }
}

void score_padded(LanguageModel& model, std::span<const Group> groups, const RequestOptions& options, Sink& sink) {
  std::vector<PaddedRow> rows;
  for (const Group& group : groups)
    for (const Piece& piece : group.pieces) rows.push_back({&group, &piece});
  std::stable_sort(rows.begin(), rows.end(), [](const PaddedRow& a, const PaddedRow& b) { return a.length() > b.length(); });
  for (std::span<const PaddedRow> left = rows; !left.empty();) {
    const int64_t most = std::max<int64_t>(1, options.batch_tokens / left.front().length());
    const std::span<const PaddedRow> batch = left.first(std::min(left.size(), static_cast<size_t>(most)));
    left = left.subspan(batch.size());
    double work = 0.0;
    for (const PaddedRow& row : batch)
      if (row.is_last_of_group()) work += static_cast<double>(row.group->length());
    sink.add_batch(work, [&, batch] { score_rows(model, batch, options, sink); });
  }
  sink.finish_batches();
}

}  // namespace

Scorer padded_scorer(LanguageModel& model, const RequestOptions& options, Sink& sink) {
  return [&](std::span<const Group> groups) { score_padded(model, groups, options, sink); };
}

}  // namespace troupe
