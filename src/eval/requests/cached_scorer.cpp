#include "eval/requests/cached_scorer.h"

#include <algorithm>
#include <memory>
#include <vector>

#include "infer/incremental.h"
#include "ops/elementwise.h"

namespace troupe {
namespace {

// A common beginning shorter than this is not worth a pass of its own.
constexpr int64_t kMinShared = 16;

// Tokens that all contexts begin with, their last ones not counted.
int64_t common_prefix(std::span<const Group> groups) {
  if (groups.size() < 2) return 0;
  size_t shared = groups[0].context.size() - 1;
  for (const Group& group : groups) {
    const auto& ids = group.context;
    shared = std::min(shared, ids.size() - 1);
    shared = static_cast<size_t>(
        std::mismatch(ids.begin(), ids.begin() + static_cast<std::ptrdiff_t>(shared), groups[0].context.begin()).first -
        ids.begin());
  }
  return static_cast<int64_t>(shared) < kMinShared ? 0 : static_cast<int64_t>(shared);
}

template <class P>
class CachedScorer {
 public:
  CachedScorer(Decoder<P>& decoder, Sink& sink)
      : decoder_(decoder),
        incremental_(decoder),
        pool_(decoder.config(), decoder.weights().params->memory()),
        sink_(sink) {}

  void score(std::span<const Group> groups, int64_t batch_tokens) {
    const int64_t shared = common_prefix(groups);
    KvSequence<P> prefix(pool_);
    if (shared > 0)
      run_in_chunks(std::span(groups[0].context).first(static_cast<size_t>(shared)), prefix, batch_tokens);
    for (size_t begin = 0; begin < groups.size();) {
      size_t end = begin;
      for (int64_t tokens = 0; end < groups.size(); ++end) {
        tokens += groups[end].length() - shared;
        if (end > begin && tokens > batch_tokens) break;
      }
      double work = 0.0;
      for (size_t i = begin; i < end; ++i) work += static_cast<double>(groups[i].length());
      sink_.add_batch(work, [this, batch = groups.subspan(begin, end - begin), &prefix] { score_batch(batch, prefix); });
      begin = end;
    }
    sink_.finish_batches();
  }

 private:
  using operand = typename P::operand;

  void run_in_chunks(std::span<const int32_t> tokens, KvSequence<P>& past, int64_t chunk) {
    for (size_t at = 0; at < tokens.size();) {
      const size_t count = std::min(tokens.size() - at, static_cast<size_t>(chunk));
      const NewTokens<P> part{tokens.subspan(at, count), &past};
      incremental_.run({&part, 1});
      at += count;
    }
    sink_.all_ran(static_cast<int64_t>(tokens.size()));
  }

  // One context after the other through the model up to their last tokens, then a round for each continuation: the last
  // token of the context with all but the last of the continuation. A context with one continuation goes with it.
  void score_batch(std::span<const Group> groups, const KvSequence<P>& prefix) {
    std::vector<KvSequence<P>> pasts;
    pasts.reserve(groups.size());
    std::vector<NewTokens<P>> contexts;
    size_t rounds = 0;
    int64_t tokens = 0;
    for (size_t g = 0; g < groups.size(); ++g) {
      KvSequence<P>& past = pasts.emplace_back(prefix.fork());
      rounds = std::max(rounds, groups[g].pieces.size());
      const std::span<const int32_t> rest = rest_of(groups[g], past);
      if (groups[g].pieces.size() < 2 || rest.size() < 2) continue;
      contexts.push_back({rest.first(rest.size() - 1), &past});
      tokens += static_cast<int64_t>(rest.size()) - 1;
    }
    if (!contexts.empty()) incremental_.run(contexts);
    sink_.ran(tokens);
    for (size_t round = 0; round < rounds; ++round) score_round(groups, round, pasts);
  }

  // What of a group's context has not run.
  std::span<const int32_t> rest_of(const Group& group, const KvSequence<P>& past) const {
    return std::span(group.context).subspan(static_cast<size_t>(past.length()));
  }

  void score_round(std::span<const Group> groups, size_t round, std::vector<KvSequence<P>>& pasts) {
    std::vector<std::vector<int32_t>> inputs;
    std::vector<NewTokens<P>> requests;
    std::vector<int32_t> targets;
    std::vector<int64_t> first_rows, lengths(groups.size());  // lengths: of pasts before the round
    inputs.reserve(groups.size());
    int64_t rows = 0;
    for (size_t g = 0; g < groups.size(); ++g) {
      if (round >= groups[g].pieces.size()) continue;
      const std::vector<int32_t>& continuation = groups[g].pieces[round].continuation;
      const std::span<const int32_t> rest = rest_of(groups[g], pasts[g]);
      std::vector<int32_t>& input = inputs.emplace_back(rest.begin(), rest.end());
      input.insert(input.end(), continuation.begin(), continuation.end() - 1);
      targets.insert(targets.end(), continuation.begin(), continuation.end());
      first_rows.push_back(rows + static_cast<int64_t>(rest.size()) - 1);
      rows += static_cast<int64_t>(input.size());
      lengths[g] = pasts[g].length();
      requests.push_back({input, &pasts[g]});
    }
    const Matrix<const operand> hidden = incremental_.run(requests);
    sink_.ran(rows);

    const int64_t D = decoder_.config().d_model;
    Buffer<operand> scored(static_cast<int64_t>(targets.size()) * D, decoder_.weights().params->memory());
    nll_.resize(targets.size()), argmax_.resize(targets.size());
    int64_t row = 0;
    size_t request = 0;
    for (const Group& group : groups) {
      if (round >= group.pieces.size()) continue;
      const auto count = static_cast<int64_t>(group.pieces[round].continuation.size());
      run(Copy<operand>{hidden.rows_from(first_rows[request], count), {scored.data() + row * D, count, D}});
      row += count;
      ++request;
    }
    incremental_.score({scored.data(), row, D}, targets, nll_, argmax_);
    size_t at = 0;
    for (size_t g = 0; g < groups.size(); ++g) {
      if (round >= groups[g].pieces.size()) continue;
      const Piece& piece = groups[g].pieces[round];
      double logprob = 0.0;
      bool is_greedy = true;
      for (const int32_t target : piece.continuation) {
        logprob -= static_cast<double>(nll_[at]);
        is_greedy = is_greedy && argmax_[at] == target;
        ++at;
      }
      sink_.add(piece, logprob, is_greedy);
      pasts[g].truncate(lengths[g]);
    }
  }

  Decoder<P>& decoder_;
  IncrementalDecoder<P> incremental_;
  KvPool<P> pool_;
  Sink& sink_;
  std::vector<typename P::real> nll_;
  std::vector<int32_t> argmax_;
};

template <class P>
Scorer scorer_of(Decoder<P>& decoder, int64_t batch_tokens, Sink& sink) {
  return [scorer = std::make_shared<CachedScorer<P>>(decoder, sink), batch_tokens](std::span<const Group> groups) {
    scorer->score(groups, batch_tokens);
  };
}

}  // namespace

Scorer cached_scorer(LanguageModel& model, const RequestOptions& options, Sink& sink) {
  return model.visit([&](auto& decoder) { return scorer_of(decoder, options.batch_tokens, sink); });
}

}  // namespace troupe
