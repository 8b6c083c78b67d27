#include "eval/requests.h"

#include <algorithm>

#include "base/error.h"
#include "eval/requests/cached_scorer.h"
#include "eval/requests/grouping.h"
#include "eval/requests/padded_scorer.h"
#include "eval/shared_batches.h"

namespace troupe {
namespace {

constexpr const char* kAnswers = "answers";

struct KnownAnswer {
  size_t request = 0;
  Journal::Entry answer;
};

// What the journal has, in the order of requests; of several ranks the first one has it, with the keys.
std::vector<KnownAnswer> known_answers(std::span<const ScoreRequest> requests, const RequestOptions& options,
                                 std::vector<uint64_t>& keys) {
  std::vector<KnownAnswer> known;
  for (size_t i = 0; options.journal && i < requests.size(); ++i) {
    keys.push_back(options.journal->key(requests[i].context, requests[i].continuation));
    if (const auto entry = options.journal->find(keys[i])) known.push_back({i, *entry});
  }
  return lists_of_all(options.ranks, std::move(known), kAnswers).front();
}

}  // namespace

std::vector<ScoreAnswer> score_requests(LanguageModel& model, std::span<const ScoreRequest> requests,
                                        const RequestOptions& options, RequestStats& stats,
                                        const RequestProgress& progress) {
  const int64_t limit = options.context > 0 ? options.context : model.config().context;
  std::vector<ScoreAnswer> answers(requests.size());
  for (size_t i = 0; i < requests.size(); ++i) {
    const ScoreRequest& request = requests[i];
    if (request.context.empty() || request.continuation.empty())
      fail(ErrorCode::kUsage, "request {}: expected a context and a continuation, got {} and {} tokens", i,
           request.context.size(), request.continuation.size());
    for (const auto* ids : {&request.context, &request.continuation})
      for (const int32_t id : *ids)
        if (id < 0 || id >= model.config().vocab_size)
          fail(ErrorCode::kData, "request {}: expected an id in [0, {}), got {}", i, model.config().vocab_size, id);
  }
  const bool journal = options.ranks ? options.ranks->any(options.journal != nullptr, kAnswers) : options.journal != nullptr;
  std::vector<uint64_t> keys;
  const std::vector<KnownAnswer> known = journal ? known_answers(requests, options, keys) : std::vector<KnownAnswer>();
  auto next_known = known.begin();
  Grouping grouping;
  for (size_t i = 0; i < requests.size(); ++i) {
    const ScoreRequest& request = requests[i];
    stats.tokens += static_cast<int64_t>(request.context.size() + request.continuation.size()) - 1;
    if (next_known != known.end() && next_known->request == i) {
      answers[i] = {next_known->answer.logprob, next_known->answer.is_greedy};
      answers[i].truncated = static_cast<int64_t>(request.context.size() + request.continuation.size()) > limit + 1;
      stats.truncated += answers[i].truncated;
      ++stats.from_journal;
      ++next_known;
      continue;
    }
    answers[i].truncated = grouping.add(request, limit, i);
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
  std::vector<const Piece*> pieces;
  for (Group& group : groups)
    for (Piece& piece : group.pieces) {
      piece.index = static_cast<int64_t>(pieces.size());
      pieces.push_back(&piece);
    }

  if (groups.empty()) return answers;  // all from the journal: nothing that scores is made

  // Answers reach the journal slice by slice: what is lost by an interruption is some seconds of work.
  constexpr double kSlices = 50.0;
  Sink sink(answers, pieces, stats, options.ranks, progress, work);
  const Scorer score = options.capacity.kind == CapacityRule::kDropless ? cached_scorer(model, options, sink)
                                                                        : padded_scorer(model, options, sink);
  for (size_t begin = 0; begin < groups.size();) {
    size_t end = begin;
    for (double slice = 0.0; end < groups.size() && (end == begin || slice < work / kSlices || !journal); ++end)
      slice += static_cast<double>(groups[end].length());
    const std::span<const Group> part = std::span(groups).subspan(begin, end - begin);
    score(part);
    const auto keep = [&] {
      if (!options.journal) return;
      for (const Group& group : part)
        for (const Piece& piece : group.pieces)
          for (const size_t request : piece.requests)
            if (--pieces_left[request] == 0)
              options.journal->add(keys[request], {answers[request].logprob, answers[request].is_greedy});
      options.journal->flush();
    };
    if (journal) run_together(options.ranks, keep, kAnswers);
    begin = end;
  }
  sink.finish();
  return answers;
}

}  // namespace troupe
