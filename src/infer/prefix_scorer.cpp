#include "infer/prefix_scorer.h"

#include <numeric>

#include "base/error.h"
#include "infer/incremental.h"

namespace troupe {
namespace {

// The prefix without its last token runs once; the last token and the continuation run per candidate.
template <class P>
std::vector<ContinuationScore> score_with(Decoder<P>& decoder, std::span<const int32_t> prefix,
                                          std::span<const std::vector<int32_t>> continuations) {
  IncrementalDecoder<P> incremental(decoder);
  KvPool<P> pool(decoder.config(), decoder.weights().params->memory());
  KvSequence<P> shared(pool);
  if (prefix.size() > 1) {
    const NewTokens<P> request{prefix.first(prefix.size() - 1), &shared};
    incremental.run({&request, 1});
  }
  std::vector<KvSequence<P>> pasts;
  std::vector<std::vector<int32_t>> inputs;
  std::vector<NewTokens<P>> requests;
  std::vector<int32_t> targets;
  pasts.reserve(continuations.size()), inputs.reserve(continuations.size());
  for (const std::vector<int32_t>& continuation : continuations) {
    if (continuation.empty()) continue;
    std::vector<int32_t>& input = inputs.emplace_back();
    input.push_back(prefix.back());
    input.insert(input.end(), continuation.begin(), continuation.end() - 1);
    targets.insert(targets.end(), continuation.begin(), continuation.end());
    requests.push_back({input, &pasts.emplace_back(shared.fork())});
  }
  std::vector<ContinuationScore> scores(continuations.size());
  if (requests.empty()) return scores;
  std::vector<float> nll(targets.size());
  std::vector<int32_t> argmax(targets.size());
  incremental.score(incremental.run(requests), targets, nll, argmax);
  size_t row = 0;
  for (size_t i = 0; i < continuations.size(); ++i)
    for (const int32_t target : continuations[i]) {
      scores[i].logprobs.push_back(-nll[row]);
      scores[i].is_greedy.push_back(argmax[row] == target);
      ++row;
    }
  return scores;
}

}  // namespace

std::vector<ContinuationScore> score_continuations(LanguageModel& model, std::span<const int32_t> prefix,
                                                   std::span<const std::vector<int32_t>> continuations) {
  if (prefix.empty()) fail(ErrorCode::kUsage, "prefix: expected at least one token, got none");
  return model.visit([&](auto& decoder) { return score_with(decoder, prefix, continuations); });
}

}  // namespace troupe
