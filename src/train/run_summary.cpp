#include "train/run_summary.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cstdlib>
#include <numeric>
#include <utility>

#include "base/log.h"
#include "base/placement.h"
#include "base/quantity.h"
#include "base/threads.h"

namespace troupe {
namespace {

template <class T>
int64_t bytes_of(const ParameterStore<T>& store) {
  return static_cast<int64_t>(store.all().size_bytes());
}

std::vector<double> in_megabytes(const std::vector<int64_t>& bytes) {
  std::vector<double> megabytes;
  for (const int64_t one : bytes) megabytes.push_back(static_cast<double>(one) / 1e6);
  return megabytes;
}

}  // namespace

RunSummary::RunSummary(Trainer& trainer, std::vector<int64_t> sequences)
    : threads_per_rank(num_threads()), sequences_per_rank(std::move(sequences)), ranks_(trainer.model().ranks()) {
  const int64_t parameters = bytes_of(trainer.model().params());
  int64_t moments = 0;
  trainer.optimizer().each_moment([&](const char*, const auto& store) { moments += bytes_of(store); });
  ranks = ranks_ ? ranks_->size() : 1;
  const ModelConfig& config = trainer.model().config();
  const int64_t experts = config.num_moe_layers() > 0 ? config.moe.num_experts : 0;
  for (int r = 0; r < ranks; ++r) experts_per_rank.push_back(experts_of(experts, r, static_cast<int>(ranks)).size());
  for (int64_t e = 0; experts < ranks && e < experts; ++e)
    copies_per_expert.push_back(holders_of(experts, e, static_cast<int>(ranks)).size());
  parameter_bytes_per_rank = ranks_ ? ranks_->all_of(parameters, "summary") : std::vector<int64_t>{parameters};
  moment_bytes_per_rank = ranks_ ? ranks_->all_of(moments, "summary") : std::vector<int64_t>{moments};
}

void RunSummary::describe(Communicator& all) const {
  log::info("ranks: {} ({}), {} each; by rank: sequences of a micro-batch {}; experts of a layer {}", ranks, all.name(),
            counted(threads_per_rank, "thread"),
            sequences_per_rank.empty() ? "as many as texts take" : fmt::format("{}", fmt::join(sequences_per_rank, " ")),
            fmt::join(experts_per_rank, " "));
  log::info("ranks: MB of parameters {:.1f}; of moments {:.1f}", fmt::join(in_megabytes(parameter_bytes_per_rank), " "),
            fmt::join(in_megabytes(moment_bytes_per_rank), " "));
  std::vector<std::string> places =
      all.texts(describe_rank_place(num_threads(), [](const char* name) { return std::getenv(name); }), "places");
  places.erase(std::unique(places.begin(), places.end()), places.end());
  log::info("ranks: {}", fmt::join(places, "; "));
  if (!copies_per_expert.empty())
    log::info("ranks: {} share {}, with copies: ranks of each {}", counted(ranks, "rank"),
              counted(static_cast<int64_t>(copies_per_expert.size()), "expert"), fmt::join(copies_per_expert, " "));
}

void RunSummary::begin_step() {
  if (!ranks_) return;
  bytes_before_ = ranks_->bytes_sent(), overlapped_before_ = ranks_->bytes_overlapped();
  seconds_before_ = ranks_->seconds();
}

void RunSummary::end_step(double seconds) {
  steps_.add(seconds);
  if (!ranks_) return;
  bytes_ += ranks_->bytes_sent() - bytes_before_, overlapped_ += ranks_->bytes_overlapped() - overlapped_before_;
  exchange_seconds_ += ranks_->seconds() - seconds_before_;
}

void RunSummary::finish() {
  seconds_per_step = steps_.mean();
  if (num_checkpoints_ > 0) seconds_per_checkpoint = saving_seconds_ / static_cast<double>(num_checkpoints_);
  const double share = steps_.count ? exchange_seconds_ / steps_.seconds : kNan;
  const double overlap = bytes_ ? static_cast<double>(overlapped_) / static_cast<double>(bytes_) : 0.0;
  exchange_share_per_rank = ranks_ ? ranks_->all_of(share, "summary") : std::vector<double>{share};
  overlap_share_per_rank = ranks_ ? ranks_->all_of(overlap, "summary") : std::vector<double>{overlap};
  if (!ranks_ || steps_.count == 0) return;
  ranks_->sum(std::span(&bytes_, 1), "summary");
  bytes_exchanged_per_step = bytes_ / steps_.count;
}

}  // namespace troupe
