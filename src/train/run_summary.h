// How a run shared its work between ranks, and what that took: RUN/summary.json, and the first lines of the log.
#pragma once

#include <cstdint>
#include <vector>

#include "dist/communicator.h"
#include "train/run_config.h"
#include "train/trainer.h"

namespace troupe {

struct RunSummary {
  static constexpr const char* kSchema = "troupe.run/1";
  int64_t ranks = 1, threads_per_rank = 1;
  // By rank: of a micro-batch; in every MoE layer; parameters that it holds; moments of those that it moves.
  std::vector<int64_t> sequences_per_rank, experts_per_rank, parameter_bytes_per_rank, moment_bytes_per_rank;
  int64_t bytes_exchanged_per_step = 0;  // between all ranks, on average over the updates of this process

  RunSummary(const RunConfig& config, Trainer& trainer);
  void describe(Communicator& all) const;  // in the log
  // Around the updates.
  void begin(int64_t step);
  void finish(int64_t step);

  template <class V>
  void fields(V& v) {
    v.constant("schema", kSchema);
    v.count("ranks", ranks), v.count("threads_per_rank", threads_per_rank);
    v("sequences_per_rank", sequences_per_rank), v("experts_per_rank", experts_per_rank);
    v("parameter_bytes_per_rank", parameter_bytes_per_rank), v("moment_bytes_per_rank", moment_bytes_per_rank);
    v.count("bytes_exchanged_per_step", bytes_exchanged_per_step);
  }

 private:
  Communicator* ranks_;
  int64_t first_step_ = 0, bytes_before_ = 0;
};

}  // namespace troupe
