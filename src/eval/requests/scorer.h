// What scores groups, and where it puts the answers.
#pragma once

#include <cmath>
#include <cstdint>
#include <deque>
#include <functional>
#include <span>
#include <utility>
#include <vector>

#include "base/error.h"
#include "eval/requests.h"
#include "eval/requests/grouping.h"
#include "eval/shared_batches.h"

namespace troupe {

using Scorer = std::function<void(std::span<const Group> groups)>;

// Takes batches of pieces as they come, has them scored, collects answers and reports progress.
class Sink {
 public:
  Sink(std::span<ScoreAnswer> answers, std::span<const Piece* const> pieces, RequestStats& stats, Communicator* ranks,
       const RequestProgress& progress, double work)
      : answers_(answers),
        pieces_(pieces),
        stats_(stats),
        ranks_(ranks),
        progress_(progress),
        work_(work),
        batches_(ranks, [this](const std::vector<Scored>& scored) { take(scored); }) {}

  // `score` calls add() for every piece of the batch, here or on another rank. `work` is the length of its groups.
  void add_batch(double work, std::function<void()> score) {
    queued_.push_back(work);
    batches_.add([this, score = std::move(score)](std::vector<Scored>& scored) {
      scored_ = &scored;
      score();
    });
  }
  void add(const Piece& piece, double logprob, bool is_greedy) {
    if (!std::isfinite(logprob))
      fail(ErrorCode::kNonFinite, "request {}: expected a finite log-probability, got {}", piece.requests[0], logprob);
    scored_->push_back({piece.index, logprob, is_greedy});
  }
  void finish_batches() { batches_.finish(); }

  // Of this rank; what all run alike is counted on the first.
  void ran(int64_t tokens) { own_.run_tokens += tokens; }
  void all_ran(int64_t tokens) { own_.run_tokens += !ranks_ || ranks_->rank() == 0 ? tokens : 0; }
  void routed(const LossSum& sum) { own_.choices += sum.choices, own_.dropped += sum.dropped; }
  // After the last batch: adds what all did.
  void finish() {
    int64_t counts[] = {own_.run_tokens, own_.choices, own_.dropped};
    if (ranks_) ranks_->sum(std::span(counts), "scores");
    stats_.run_tokens += counts[0], stats_.choices += counts[1], stats_.dropped += counts[2];
  }

 private:
  struct Scored {
    int64_t piece = 0;
    double logprob = 0.0;
    bool is_greedy = false;
  };

  void take(const std::vector<Scored>& batch) {
    for (const Scored& scored : batch)
      for (const size_t request : pieces_[static_cast<size_t>(scored.piece)]->requests) {
        answers_[request].logprob += scored.logprob;
        answers_[request].is_greedy = answers_[request].is_greedy && scored.is_greedy;
      }
    done_ += queued_.front();
    queued_.pop_front();
    if (progress_) progress_(done_ / work_);
  }

  std::span<ScoreAnswer> answers_;
  std::span<const Piece* const> pieces_;  // by index
  RequestStats& stats_;
  RequestStats own_;
  Communicator* ranks_;
  const RequestProgress& progress_;
  double work_, done_ = 0.0;
  std::deque<double> queued_;              // work of batches without results
  std::vector<Scored>* scored_ = nullptr;  // of the batch at hand
  SharedBatches<Scored> batches_;
};

}  // namespace troupe
