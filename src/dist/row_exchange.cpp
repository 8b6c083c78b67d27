#include "dist/row_exchange.h"

#include <algorithm>
#include <cstring>

namespace troupe {

void RowExchange::plan(Communicator& ranks, std::span<const int64_t> offsets) {
  ranks_ = &ranks;
  const int N = ranks.size();
  const auto E = static_cast<int64_t>(offsets.size()) - 1;
  own_experts_ = share_of(E, ranks.rank(), N).size();
  std::vector<int64_t> rows_of(static_cast<size_t>(E)), experts_of(static_cast<size_t>(N)),
      own(static_cast<size_t>(N), own_experts_);
  for (int64_t e = 0; e < E; ++e)
    rows_of[static_cast<size_t>(e)] = offsets[static_cast<size_t>(e + 1)] - offsets[static_cast<size_t>(e)];
  sent_.resize(static_cast<size_t>(N));
  for (int r = 0; r < N; ++r) {
    const Share experts = share_of(E, r, N);
    experts_of[static_cast<size_t>(r)] = experts.size();
    sent_[static_cast<size_t>(r)] =
        offsets[static_cast<size_t>(experts.end)] - offsets[static_cast<size_t>(experts.begin)];
  }
  counts_.resize(static_cast<size_t>(N * own_experts_));
  ranks.exchange(rows_of.data(), experts_of, counts_.data(), own, sizeof(int64_t), "rows per expert");
  received_.assign(static_cast<size_t>(N), 0);
  received_offsets_.assign(static_cast<size_t>(own_experts_) + 1, 0);
  for (int64_t r = 0; r < N; ++r)
    for (int64_t e = 0; e < own_experts_; ++e) {
      const int64_t count = counts_[static_cast<size_t>(r * own_experts_ + e)];
      received_[static_cast<size_t>(r)] += count;
      received_offsets_[static_cast<size_t>(e + 1)] += count;
    }
  for (int64_t e = 0; e < own_experts_; ++e)
    received_offsets_[static_cast<size_t>(e + 1)] += received_offsets_[static_cast<size_t>(e)];
}

// copy(row in the order (rank, expert), row in the order (expert, rank), rows) of every block that lies together in both.
template <class Copy>
void RowExchange::each_block(const Copy& copy) const {
  std::vector<int64_t> next(received_offsets_.begin(), received_offsets_.end() - 1);
  int64_t staged = 0;
  for (size_t i = 0; i < counts_.size(); ++i) {
    int64_t& sorted = next[i % static_cast<size_t>(own_experts_)];
    if (counts_[i] > 0) copy(staged, sorted, counts_[i]);
    staged += counts_[i], sorted += counts_[i];
  }
}

void RowExchange::to_experts(const void* rows, int64_t row_bytes, void* received, const char* place) {
  staged_.resize(std::max(staged_.size(), static_cast<size_t>(num_received() * row_bytes)));
  ranks_->exchange(rows, sent_, staged_.data(), received_, row_bytes, place);
  each_block([&](int64_t staged, int64_t sorted, int64_t count) {
    std::memcpy(static_cast<std::byte*>(received) + sorted * row_bytes, staged_.data() + staged * row_bytes,
                static_cast<size_t>(count * row_bytes));
  });
}

void RowExchange::to_tokens(const void* received, int64_t row_bytes, void* rows, const char* place) {
  staged_.resize(std::max(staged_.size(), static_cast<size_t>(num_received() * row_bytes)));
  each_block([&](int64_t staged, int64_t sorted, int64_t count) {
    std::memcpy(staged_.data() + staged * row_bytes, static_cast<const std::byte*>(received) + sorted * row_bytes,
                static_cast<size_t>(count * row_bytes));
  });
  ranks_->exchange(staged_.data(), received_, rows, sent_, row_bytes, place);
}

}  // namespace troupe
