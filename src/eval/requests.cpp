#include "eval/requests.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <unordered_map>

#include "base/error.h"
#include "infer/incremental.h"
#include "io/checksum.h"
#include "ops/elementwise.h"

namespace troupe {
namespace {

// A common beginning shorter than this is not worth a pass of its own.
constexpr int64_t kMinShared = 16;
// The pieces of a group run one after the other, each with those of other groups: more than this make another group.
constexpr size_t kMaxPieces = 32;

// What runs: a request, or a part of one that is longer than the context.
struct Piece {
  std::vector<int32_t> continuation;
  std::vector<size_t> requests;  // whose answers it adds to; several if requests are equal
};

struct Group {
  std::vector<int32_t> context;
  std::vector<Piece> pieces;

  int64_t length() const {
    size_t longest = 0;
    for (const Piece& piece : pieces) longest = std::max(longest, piece.continuation.size());
    return static_cast<int64_t>(context.size() + longest) - 1;
  }
};

struct IdsHash {
  size_t operator()(const std::vector<int32_t>& ids) const {
    return xxh3(std::span(reinterpret_cast<const uint8_t*>(ids.data()), ids.size() * sizeof(int32_t)));
  }
};

// Continuations of one context become a group; equal requests become one piece.
class Grouping {
 public:
  void add(std::vector<int32_t> context, std::vector<int32_t> continuation, size_t request) {
    std::vector<int32_t> both = context;
    both.push_back(-1);
    both.insert(both.end(), continuation.begin(), continuation.end());
    const auto [place, is_new] = pieces_.try_emplace(std::move(both));
    if (!is_new) {
      groups_[place->second.group].pieces[place->second.piece].requests.push_back(request);
      return;
    }
    const auto [open, opened] = open_groups_.try_emplace(context, groups_.size());
    if (!opened && groups_[open->second].pieces.size() == kMaxPieces) open->second = groups_.size();
    if (open->second == groups_.size()) groups_.push_back({std::move(context), {}});
    Group& group = groups_[open->second];
    place->second = {open->second, group.pieces.size()};
    group.pieces.push_back({std::move(continuation), {request}});
  }
  std::vector<Group> take() { return std::move(groups_); }

 private:
  struct Place {
    size_t group = 0, piece = 0;
  };
  std::vector<Group> groups_;
  std::unordered_map<std::vector<int32_t>, size_t, IdsHash> open_groups_;  // the one of each context that takes more
  std::unordered_map<std::vector<int32_t>, Place, IdsHash> pieces_;        // context, -1, continuation
};

// Cuts a request to the model's context. Returns whether tokens of the context were lost.
bool add_request(const ScoreRequest& request, int64_t limit, size_t index, Grouping& grouping) {
  const std::vector<int32_t>& context = request.context;
  const auto length = static_cast<int64_t>(request.continuation.size());
  const auto room = static_cast<size_t>(std::max<int64_t>(1, limit + 1 - length));
  const bool truncated = context.size() > room;
  std::vector<int32_t> before(truncated ? context.end() - static_cast<std::ptrdiff_t>(room) : context.begin(),
                              context.end());
  if (length <= limit) {
    grouping.add(std::move(before), request.continuation, index);
    return truncated;
  }
  std::vector<int32_t> all = before;
  all.insert(all.end(), request.continuation.begin(), request.continuation.end());
  const auto total = static_cast<int64_t>(all.size());
  for (int64_t begin = 1; begin < total;) {
    const int64_t end = std::min(total, begin == 1 ? 1 + limit : begin + (limit + 1) / 2);
    const int64_t from = std::max<int64_t>(0, end - 1 - limit);
    grouping.add({all.begin() + from, all.begin() + begin}, {all.begin() + begin, all.begin() + end}, index);
    begin = end;
  }
  return truncated;
}

// Collects answers and reports progress.
class Sink {
 public:
  Sink(std::span<ScoreAnswer> answers, RequestStats& stats, const RequestProgress& progress, double work)
      : answers_(answers), stats_(stats), progress_(progress), work_(work) {}

  void add(const Piece& piece, double logprob, bool is_greedy) {
    if (!std::isfinite(logprob))
      fail(ErrorCode::kNonFinite, "request {}: expected a finite log-probability, got {}", piece.requests[0], logprob);
    for (const size_t request : piece.requests) {
      answers_[request].logprob += logprob;
      answers_[request].is_greedy = answers_[request].is_greedy && is_greedy;
    }
  }
  void ran(int64_t tokens) { stats_.run_tokens += tokens; }
  void finished(const Group& group) {
    done_ += static_cast<double>(group.length());
    if (progress_) progress_(done_ / work_);
  }
  RequestStats& stats() { return stats_; }

 private:
  std::span<ScoreAnswer> answers_;
  RequestStats& stats_;
  const RequestProgress& progress_;
  double work_, done_ = 0.0;
};

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

// Groups with cached contexts; `shared` tokens are the same in all of them.
template <class P>
class CachedScorer {
 public:
  CachedScorer(Decoder<P>& decoder, Sink& sink)
      : decoder_(decoder), incremental_(decoder), pool_(decoder.config(), decoder.weights().params->memory()), sink_(sink) {}

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
      score_batch(groups.subspan(begin, end - begin), prefix);
      for (size_t i = begin; i < end; ++i) sink_.finished(groups[i]);
      begin = end;
    }
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
    sink_.ran(static_cast<int64_t>(tokens.size()));
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

// Every piece a row of a padded batch.
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

std::vector<ScoreAnswer> score_requests(LanguageModel& model, std::span<const ScoreRequest> requests,
                                        const RequestOptions& options, RequestStats& stats,
                                        const RequestProgress& progress) {
  const int64_t limit = options.context > 0 ? options.context : model.config().context;
  std::vector<ScoreAnswer> answers(requests.size());
  std::vector<uint64_t> keys(options.journal ? requests.size() : 0);
  Grouping grouping;
  for (size_t i = 0; i < requests.size(); ++i) {
    const ScoreRequest& request = requests[i];
    if (request.context.empty() || request.continuation.empty())
      fail(ErrorCode::kUsage, "request {}: expected a context and a continuation, got {} and {} tokens", i,
           request.context.size(), request.continuation.size());
    for (const auto* ids : {&request.context, &request.continuation})
      for (const int32_t id : *ids)
        if (id < 0 || id >= model.config().vocab_size)
          fail(ErrorCode::kData, "request {}: expected an id in [0, {}), got {}", i, model.config().vocab_size, id);
    stats.tokens += static_cast<int64_t>(request.context.size() + request.continuation.size()) - 1;
    if (options.journal) {
      keys[i] = options.journal->key(request.context, request.continuation);
      if (const auto entry = options.journal->find(keys[i])) {
        answers[i] = {entry->logprob, entry->is_greedy};
        answers[i].truncated = static_cast<int64_t>(request.context.size() + request.continuation.size()) > limit + 1;
        stats.truncated += answers[i].truncated;
        ++stats.from_journal;
        continue;
      }
    }
    answers[i].truncated = add_request(request, limit, i, grouping);
    stats.truncated += answers[i].truncated;
  }
  stats.requests += static_cast<int64_t>(requests.size());

  std::vector<Group> groups = grouping.take();
  double work = 0.0;
  std::vector<int> pieces_left(requests.size(), 0);
  for (const Group& group : groups) {
    work += static_cast<double>(group.length());
    for (const Piece& piece : group.pieces) {
      stats.repeated += static_cast<int64_t>(piece.requests.size()) - 1;
      for (const size_t request : piece.requests) ++pieces_left[request];
    }
  }
  std::stable_sort(groups.begin(), groups.end(),
                   [](const Group& a, const Group& b) { return a.length() > b.length(); });

  // Answers reach the journal slice by slice: what is lost by an interruption is some seconds of work.
  constexpr double kSlices = 50.0;
  Sink sink(answers, stats, progress, work);
  const bool shares = options.capacity.kind == CapacityRule::kDropless;
  for (size_t begin = 0; begin < groups.size();) {
    size_t end = begin;
    for (double slice = 0.0; end < groups.size() && (end == begin || slice < work / kSlices || !options.journal); ++end)
      slice += static_cast<double>(groups[end].length());
    const std::span<const Group> part = std::span(groups).subspan(begin, end - begin);
    if (shares)
      model.visit(
          [&]<class P>(Decoder<P>& decoder) { CachedScorer<P>(decoder, sink).score(part, options.batch_tokens); });
    else
      score_padded(model, part, options, sink);
    if (options.journal) {
      for (const Group& group : part)
        for (const Piece& piece : group.pieces)
          for (const size_t request : piece.requests)
            if (--pieces_left[request] == 0)
              options.journal->add(keys[request], {answers[request].logprob, answers[request].is_greedy});
      options.journal->flush();
    }
    begin = end;
  }
  return answers;
}

}  // namespace troupe
