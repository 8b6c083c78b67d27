// Rows of one layer between the ranks that have their tokens and those that have their experts. Rows of a rank are sorted
// by expert, and ranks hold consecutive experts and consecutive tokens: so rows that arrive are put in the order (expert,
// rank they come from), which is (expert, token of the whole batch). An expert sees the rows that it would see in one
// process, in the same order.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "dist/communicator.h"

namespace troupe {

class RowExchange {
 public:
  // `offsets` [E + 1] of this rank's rows by expert. Tells every rank how many rows it will get.
  void plan(Communicator& ranks, std::span<const int64_t> offsets);

  int64_t num_received() const { return received_offsets_.back(); }
  const std::vector<int64_t>& offsets() const { return received_offsets_; }  // of what was received, by own expert

  // Both have rows of `row_bytes` back to back.
  void to_experts(const void* rows, int64_t row_bytes, void* received, const char* place);
  void to_tokens(const void* received, int64_t row_bytes, void* rows, const char* place);

 private:
  template <class Copy>
  void each_block(const Copy& copy) const;

  Communicator* ranks_ = nullptr;
  int64_t own_experts_ = 0;
  std::vector<int64_t> sent_, received_;   // rows by rank
  std::vector<int64_t> counts_;            // [ranks, own experts] rows received
  std::vector<int64_t> received_offsets_;  // [own experts + 1]
  std::vector<std::byte> staged_;          // rows in the order (rank, expert)
};

}  // namespace troupe
