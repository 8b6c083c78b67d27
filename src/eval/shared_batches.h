// Batches that ranks share. Each rank has the whole model and scores one batch of every round; results reach all ranks, in
// the order of the batches. A batch is what it is in one process, so its scores have the same bits.
#pragma once

#include <cstdint>
#include <functional>
#include <numeric>
#include <span>
#include <utility>
#include <vector>

#include "dist/communicator.h"

namespace troupe {

// The lists of all ranks, on every rank.
template <class T>
std::vector<std::vector<T>> lists_of_all(Communicator* ranks, std::vector<T> own, const char* place) {
  std::vector<std::vector<T>> lists;
  if (!ranks) {
    lists.push_back(std::move(own));
    return lists;
  }
  const std::vector<int64_t> sizes = ranks->all_of(static_cast<int64_t>(own.size()), place);
  std::vector<T> all(static_cast<size_t>(std::accumulate(sizes.begin(), sizes.end(), int64_t{0})));
  ranks->gather(own.data(), all.data(), sizes, sizeof(T), place);
  for (auto begin = all.begin(); const int64_t size : sizes) lists.emplace_back(begin, begin + size), begin += size;
  return lists;
}

template <class T>
class SharedBatches {
 public:
  using Score = std::function<void(std::vector<T>& results)>;
  using Take = std::function<void(const std::vector<T>& results)>;

  // `ranks` may be null: one process. All ranks add the same batches. What score() throws on one rank, or take() on all,
  // all throw.
  SharedBatches(Communicator* ranks, Take take) : ranks_(ranks), take_(std::move(take)) {}

  void add(Score score) {
    if (round_ == (ranks_ ? ranks_->rank() : 0)) own_ = std::move(score);
    if (++round_ == (ranks_ ? ranks_->size() : 1)) finish();
  }

  // After the last one.
  void finish() {
    if (round_ == 0) return;
    constexpr const char* kPlace = "scores";
    std::vector<T> results;
    const Score own = std::exchange(own_, nullptr);
    run_together(ranks_, [&] { if (own) own(results); }, kPlace);
    const std::vector<std::vector<T>> lists = lists_of_all(ranks_, std::move(results), kPlace);
    const int batches = std::exchange(round_, 0);
    run_together(ranks_, [&] { for (int i = 0; i < batches; ++i) take_(lists[static_cast<size_t>(i)]); }, kPlace);
  }

 private:
  Communicator* ranks_;
  Take take_;
  Score own_;      // of this round
  int round_ = 0;  // batches of it
};

}  // namespace troupe
