// What scores groups, and where it puts the answers.
#pragma once

#include <cmath>
#include <cstdint>
#include <functional>
#include <span>

#include "base/error.h"
#include "eval/requests.h"
#include "eval/requests/grouping.h"

namespace troupe {

using Scorer = std::function<void(std::span<const Group> groups)>;

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

}  // namespace troupe
