// Rows of one layer between the ranks that have their tokens and those that have their experts. Rows of a rank are
// sorted by expert, and ranks hold consecutive experts and consecutive tokens: so rows that arrive are put in the order
// (expert, rank they come from), which is (expert, token of the whole batch). An expert sees the rows that it would see
// in one process, in the same order; of several copies of an expert each sees a part of every rank's. They travel in chunks of whole experts, so that some are computed while others
// travel.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "dist/communicator.h"

namespace troupe {

class RowExchange {
 public:
  // `by_expert` [E + 1]: offsets of this rank's rows by expert. Tells every rank how many rows it will get. `chunks` is the same
  // on all ranks.
  void plan(Communicator& ranks, std::span<const int64_t> by_expert, int64_t chunks = 1);

  int64_t num_received() const { return received_offsets_.back(); }
  const std::vector<int64_t>& offsets() const { return received_offsets_; }  // of what was received, by own expert

  // One direction: rows of `row_bytes` back to back in both memories.
  struct Way {
    const void* from;
    void* to;
    int64_t row_bytes;
    const char* place;
  };
  // Own rows to their experts, and back what these make of them. work(rows, offsets) makes rows [begin, end) of
  // back.from of those of there.to, once a chunk that has any; `offsets` of them by own expert, from 0, of which those
  // of other chunks have none.
  using Work = std::function<void(Share rows, std::span<const int64_t> offsets)>;
  void there_and_back(const Way& there, const Way& back, const Work& work);

 private:
  struct Chunk {
    Share experts;            // own
    RankRows sent, received;  // the latter in the order (rank, expert), beside those of other chunks
    std::vector<int64_t> offsets;
  };
  static std::vector<int64_t> divided(std::span<const int64_t> offsets, int ranks);
  Share rows_of_chunk(const Chunk& chunk) const;
  template <class Copy>
  void each_block(const Chunk& chunk, const Copy& copy) const;

  Communicator* ranks_ = nullptr;
  int64_t own_experts_ = 0;
  std::vector<int64_t> counts_;            // [ranks, own experts] rows received
  std::vector<int64_t> received_offsets_;  // [own experts + 1]
  std::vector<Chunk> chunks_;
  std::vector<std::byte> coming_, going_;  // rows in the order of their chunk and rank
};

}  // namespace troupe
