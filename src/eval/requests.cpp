#include "eval/requests.h"

#include <algorithm>

#include "base/error.h"
#include "eval/requests/cached_scorer.h"
#include "eval/requests/grouping.h"
#include "eval/requests/padded_scorer.h"

namespace troupe {

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

  if (groups.empty()) return answers;  // all from the journal: nothing that scores is made

  // Answers reach the journal slice by slice: what is lost by an interruption is some seconds of work.
  constexpr double kSlices = 50.0;
  Sink sink(answers, stats, progress, work);
  const Scorer score = options.capacity.kind == CapacityRule::kDropless ? cached_scorer(model, options, sink)
                                                                        : padded_scorer(model, options, sink);
  for (size_t begin = 0; begin < groups.size();) {
    size_t end = begin;
    for (double slice = 0.0; end < groups.size() && (end == begin || slice < work / kSlices || !options.journal); ++end)
      slice += static_cast<double>(groups[end].length());
    const std::span<const Group> part = std::span(groups).subspan(begin, end - begin);
    score(part);
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
