// How a run shared its work between ranks, and what that took: RUN/summary.json, and the first lines of the log.
#pragma once

#include <cstdint>
#include <vector>

#include "dist/communicator.h"
#include "eval/statistics.h"
#include "train/trainer.h"

namespace troupe {

struct RunSummary {
  static constexpr const char* kSchema = "troupe.run/1";
  int64_t ranks = 1, threads_per_rank = 1;
  // By rank: of a micro-batch (none where their number varies); in every MoE layer; parameters that it holds; moments of those that it moves.
  std::vector<int64_t> sequences_per_rank, experts_per_rank, parameter_bytes_per_rank, moment_bytes_per_rank;
  // Ranks that hold each expert, where there are more ranks than experts; else none.
  std::vector<int64_t> copies_per_expert;
  // On average over the updates of this process: bytes between all ranks; time; by rank the share of it inside calls to
  // other ranks, which is waiting for them, too, and the share of the bytes that it sent which went while it computed.
  // And over its checkpoints: what training waits for them.
  int64_t bytes_exchanged_per_step = 0;
  double seconds_per_step = kNan, seconds_per_checkpoint = kNan;
  std::vector<double> exchange_share_per_rank, overlap_share_per_rank;

  // `sequences`: of a micro-batch, by rank.
  RunSummary(Trainer& trainer, std::vector<int64_t> sequences);
  void describe(Communicator& all) const;  // in the log
  // Around each update, and all of them.
  void begin_step();
  void end_step(double seconds);
  void count_checkpoint() { ++num_checkpoints_; }
  void add_saving(double seconds) { saving_seconds_ += seconds; }
  void finish();

  template <class V>
  void fields(V& v) {
    v.constant("schema", kSchema);
    v.count("ranks", ranks), v.count("threads_per_rank", threads_per_rank);
    v("sequences_per_rank", sequences_per_rank), v("experts_per_rank", experts_per_rank);
    v("copies_per_expert", copies_per_expert);
    v("parameter_bytes_per_rank", parameter_bytes_per_rank), v("moment_bytes_per_rank", moment_bytes_per_rank);
    v.count("bytes_exchanged_per_step", bytes_exchanged_per_step), v("seconds_per_step", seconds_per_step);
    v("exchange_share_per_rank", exchange_share_per_rank), v("overlap_share_per_rank", overlap_share_per_rank);
    v("seconds_per_checkpoint", seconds_per_checkpoint);
  }

 private:
  Communicator* ranks_;
  struct Sum {
    int64_t count = 0;
    double seconds = 0.0;
    void add(double more) { ++count, seconds += more; }
    double mean() const { return count ? seconds / static_cast<double>(count) : kNan; }
  };
  Sum steps_;
  int64_t num_checkpoints_ = 0;
  double saving_seconds_ = 0.0;
  int64_t bytes_before_ = 0, bytes_ = 0, overlapped_before_ = 0, overlapped_ = 0;  // to other ranks, within updates
  double seconds_before_ = 0.0, exchange_seconds_ = 0.0;
};

}  // namespace troupe
