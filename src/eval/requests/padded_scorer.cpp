#include "eval/requests/padded_scorer.h"

#include <algorithm>
#include <vector>

namespace troupe {
namespace {

void score_padded(LanguageModel& model, std::span<const Group> groups, const RequestOptions& options, Sink& sink) {
  struct Row {
    const Group* group;
    const Piece* piece;
    int64_t length() const { return static_cast<int64_t>(group->context.size() + piece->continuation.size()) - 1; }
  };
  std::vector<Row> rows;
  for (const Group& group : groups)
    for (const Piece& piece : group.pieces) rows.push_back({&group, &piece});
  std::stable_sort(rows.begin(), rows.end(), [](const Row& a, const Row& b) { return a.length() > b.length(); });
  const ModelConfig& config = model.config();
  const auto filler = static_cast<int32_t>(config.pad_id >= 0 ? config.pad_id : std::max<int64_t>(config.eos_id, 0));
  std::vector<float> nll;
  std::vector<int32_t> argmax;
  for (size_t begin = 0; begin < rows.size();) {
    const int64_t width = rows[begin].length();
    const size_t end =
        std::min(rows.size(), begin + static_cast<size_t>(std::max<int64_t>(1, options.batch_tokens / width)));
    Batch batch{.B = static_cast<int64_t>(end - begin), .S = width};
    batch.src.assign(static_cast<size_t>(batch.tokens()), filler);
    batch.tgt.assign(static_cast<size_t>(batch.tokens()), -1);
    for (size_t i = begin; i < end; ++i) {
      const std::vector<int32_t>&context = rows[i].group->context, &continuation = rows[i].piece->continuation;
      const auto at = static_cast<std::ptrdiff_t>(i - begin) * width;
      std::copy(context.begin(), context.end(), batch.src.begin() + at);
      const auto scored = at + static_cast<std::ptrdiff_t>(context.size());
      std::copy(continuation.begin(), continuation.end() - 1, batch.src.begin() + scored);
      std::copy(continuation.begin(), continuation.end(), batch.tgt.begin() + scored - 1);
    }
    nll.resize(batch.src.size()), argmax.resize(batch.src.size());
    const LossSum sum = model.score(batch, {.capacity = options.capacity}, nll, argmax);
    sink.stats().choices += sum.choices, sink.stats().dropped += sum.dropped;
    sink.ran(batch.tokens());
    for (size_t i = begin; i < end; ++i) {
      const size_t first = (i - begin) * static_cast<size_t>(width) + rows[i].group->context.size() - 1;
      double logprob = 0.0;
      bool is_greedy = true;
      for (size_t t = 0; t < rows[i].piece->continuation.size(); ++t) {
        logprob -= static_cast<double>(nll[first + t]);
        is_greedy = is_greedy && argmax[first + t] == rows[i].piece->continuation[t];
      }
      sink.add(*rows[i].piece, logprob, is_greedy);
      if (rows[i].piece == &rows[i].group->pieces.back()) sink.finished(*rows[i].group);
    }
    begin = end;
  }
}

}  // namespace

Scorer padded_scorer(LanguageModel& model, const RequestOptions& options, Sink& sink) {
  return [&](std::span<const Group> groups) { score_padded(model, groups, options, sink); };
}

}  // namespace troupe
