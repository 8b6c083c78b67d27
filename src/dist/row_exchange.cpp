#include "dist/row_exchange.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <numeric>
#include <utility>

namespace troupe {

// Where an expert has copies each takes a part of its rows: as if there were an expert for every rank.
std::vector<int64_t> RowExchange::divided(std::span<const int64_t> offsets, int ranks) {
  const auto experts = static_cast<int64_t>(offsets.size()) - 1;
  if (experts >= ranks) return {offsets.begin(), offsets.end()};
  std::vector<int64_t> parts = {offsets[0]};
  for (int r = 0; r < ranks; ++r) {
    const int64_t expert = experts_of(experts, r, ranks).begin, begin = offsets[static_cast<size_t>(expert)];
    const Share holders = holders_of(experts, expert, ranks);
    const int64_t rows = offsets[static_cast<size_t>(expert + 1)] - begin;
    parts.push_back(begin + share_of(rows, r - static_cast<int>(holders.begin), static_cast<int>(holders.size())).end);
  }
  return parts;
}

void RowExchange::plan(Communicator& ranks, std::span<const int64_t> by_expert, int64_t chunks) {
  ranks_ = &ranks;
  const int N = ranks.size();
  const std::vector<int64_t> offsets = divided(by_expert, N);
  const auto E = static_cast<int64_t>(offsets.size()) - 1;
  own_experts_ = share_of(E, ranks.rank(), N).size();
  std::vector<int64_t> rows_of(static_cast<size_t>(E)), experts_of(static_cast<size_t>(N)),
      own(static_cast<size_t>(N), own_experts_);
  for (int64_t e = 0; e < E; ++e)
    rows_of[static_cast<size_t>(e)] = offsets[static_cast<size_t>(e + 1)] - offsets[static_cast<size_t>(e)];
  for (int r = 0; r < N; ++r) experts_of[static_cast<size_t>(r)] = share_of(E, r, N).size();
  counts_.resize(static_cast<size_t>(N * own_experts_));
  ranks.exchange(rows_of.data(), experts_of, counts_.data(), own, sizeof(int64_t), "rows per expert");
  received_offsets_.assign(static_cast<size_t>(own_experts_) + 1, 0);
  for (int64_t r = 0; r < N; ++r)
    for (int64_t e = 0; e < own_experts_; ++e)
      received_offsets_[static_cast<size_t>(e + 1)] += counts_[static_cast<size_t>(r * own_experts_ + e)];
  for (int64_t e = 0; e < own_experts_; ++e)
    received_offsets_[static_cast<size_t>(e + 1)] += received_offsets_[static_cast<size_t>(e)];

  chunks_.assign(static_cast<size_t>(chunks), {});
  for (int c = 0; c < static_cast<int>(chunks); ++c) {
    Chunk& chunk = chunks_[static_cast<size_t>(c)];
    chunk.experts = share_of(own_experts_, c, static_cast<int>(chunks));
    int64_t start = received_offsets_[static_cast<size_t>(chunk.experts.begin)];
    for (int r = 0; r < N; ++r) {
      const Share held = share_of(E, r, N), part = share_of(held.size(), c, static_cast<int>(chunks));
      const int64_t begin = offsets[static_cast<size_t>(held.begin + part.begin)];
      chunk.sent.starts.push_back(begin);
      chunk.sent.counts.push_back(offsets[static_cast<size_t>(held.begin + part.end)] - begin);
      const auto first = counts_.begin() + r * own_experts_;
      const int64_t count = std::accumulate(first + chunk.experts.begin, first + chunk.experts.end, int64_t{0});
      chunk.received.starts.push_back(start);
      chunk.received.counts.push_back(count);
      start += count;
    }
    const Share rows = rows_of_chunk(chunk);
    for (const int64_t offset : received_offsets_)
      chunk.offsets.push_back(std::clamp(offset, rows.begin, rows.end) - rows.begin);
  }
}

Share RowExchange::rows_of_chunk(const Chunk& chunk) const {
  return {received_offsets_[static_cast<size_t>(chunk.experts.begin)],
          received_offsets_[static_cast<size_t>(chunk.experts.end)]};
}

// copy(row in the order (rank, expert), row in the order (expert, rank), rows) of every block that lies together in both.
template <class Copy>
void RowExchange::each_block(const Chunk& chunk, const Copy& copy) const {
  std::vector<int64_t> next(received_offsets_.begin(), received_offsets_.end() - 1);
  int64_t staged = rows_of_chunk(chunk).begin;
  for (int64_t r = 0; r < ranks_->size(); ++r)
    for (int64_t e = chunk.experts.begin; e < chunk.experts.end; ++e) {
      const int64_t count = counts_[static_cast<size_t>(r * own_experts_ + e)];
      int64_t& sorted = next[static_cast<size_t>(e)];
      if (count > 0) copy(staged, sorted, count);
      staged += count, sorted += count;
    }
}

void RowExchange::there_and_back(const Way& there, const Way& back, const Work& work) {
  const auto reserve = [&](std::vector<std::byte>& rows, int64_t row_bytes) {
    rows.resize(std::max(rows.size(), static_cast<size_t>(num_received() * row_bytes)));
  };
  reserve(coming_, there.row_bytes), reserve(going_, back.row_bytes);
  std::vector<std::unique_ptr<Communicator::Pending>> comes, goes;
  for (const Chunk& chunk : chunks_)
    comes.push_back(
        ranks_->begin_exchange(there.from, chunk.sent, coming_.data(), chunk.received, there.row_bytes, there.place));
  for (size_t c = 0; c < chunks_.size(); ++c) {
    const Chunk& chunk = chunks_[c];
    ranks_->finish(std::move(comes[c]));
    each_block(chunk, [&](int64_t staged, int64_t sorted, int64_t count) {
      std::memcpy(static_cast<std::byte*>(there.to) + sorted * there.row_bytes,
                  coming_.data() + staged * there.row_bytes, static_cast<size_t>(count * there.row_bytes));
    });
    if (const Share rows = rows_of_chunk(chunk); rows.size() > 0) work(rows, chunk.offsets);
    each_block(chunk, [&](int64_t staged, int64_t sorted, int64_t count) {
      std::memcpy(going_.data() + staged * back.row_bytes,
                  static_cast<const std::byte*>(back.from) + sorted * back.row_bytes,
                  static_cast<size_t>(count * back.row_bytes));
    });
    goes.push_back(
        ranks_->begin_exchange(going_.data(), chunk.received, back.to, chunk.sent, back.row_bytes, back.place));
  }
  for (auto& one : goes) ranks_->finish(std::move(one));
}

}  // namespace troupe
