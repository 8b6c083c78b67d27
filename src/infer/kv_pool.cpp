#include "infer/kv_pool.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "ops/elementwise.h"
#include "tensor/precision.h"

namespace troupe {
namespace {

constexpr int64_t kHugePage = int64_t{2} << 20;

int64_t num_pages(int64_t rows, int64_t page_rows) { return (rows + page_rows - 1) / page_rows; }

}  // namespace

template <class P>
KvPool<P>::KvPool(const ModelConfig& config, Memory& memory, int64_t max_pages)
    : num_layers_(config.num_layers),
      width_(config.kv_width()),
      max_pages_(max_pages),
      page_size_(2 * kPageRows * width_),
      slab_pages_(std::max<int64_t>(1, (kHugePage - 1) / (page_size_ * static_cast<int64_t>(sizeof(operand))))),
      memory_(memory) {}

template <class P>
void KvPool<P>::require(int64_t count) {
  const int64_t left = max_pages_ - pages_in_use();
  if (count > left)
    fail(ErrorCode::kEnvironment, "keys and values: expected at most {} more pages of {} positions, got {} (of {})",
         left, kPageRows, count, max_pages_);
  while (static_cast<int64_t>(free_.size()) < count) {
    const int64_t before = pages_allocated(), added = std::min(slab_pages_, max_pages_ - before);
    Slab slab;
    for (int64_t layer = 0; layer < num_layers_; ++layer) slab.emplace_back(added * page_size_, memory_);
    slabs_.push_back(std::move(slab));
    users_.resize(static_cast<size_t>(before + added));
    for (int64_t i = added - 1; i >= 0; --i) free_.push_back(static_cast<int32_t>(before + i));  // the first goes first
  }
}

template <class P>
int32_t KvPool<P>::take() {
  const int32_t page = free_.back();
  free_.pop_back();
  users_[static_cast<size_t>(page)] = 1;
  return page;
}

template <class P>
void KvPool<P>::give_back(int32_t page) {
  if (--users_[static_cast<size_t>(page)] == 0) free_.push_back(page);
}

template <class P>
void KvPool<P>::copy(int32_t from, int32_t to, int64_t rows) {
  for (int64_t layer = 0; layer < num_layers_; ++layer) {
    run(Copy<operand>{keys(from, layer, 0, rows), keys(to, layer, 0, rows)});
    run(Copy<operand>{values(from, layer, 0, rows), values(to, layer, 0, rows)});
  }
}

template <class P>
typename P::operand* KvPool<P>::data(int32_t page, int64_t layer) {
  Slab& slab = slabs_[static_cast<size_t>(page / slab_pages_)];
  return slab[static_cast<size_t>(layer)].data() + page % slab_pages_ * page_size_;
}

template <class P>
Matrix<typename P::operand> KvPool<P>::keys(int32_t page, int64_t layer, int64_t row, int64_t count) {
  return {data(page, layer) + row * width_, count, width_};
}

template <class P>
Matrix<typename P::operand> KvPool<P>::values(int32_t page, int64_t layer, int64_t row, int64_t count) {
  return {data(page, layer) + (kPageRows + row) * width_, count, width_};
}

template <class P>
KvSequence<P>::KvSequence(KvSequence&& other) noexcept
    : pool_(other.pool_), pages_(std::exchange(other.pages_, {})), length_(std::exchange(other.length_, 0)) {}

template <class P>
KvSequence<P>& KvSequence<P>::operator=(KvSequence&& other) noexcept {
  std::swap(pool_, other.pool_);
  std::swap(pages_, other.pages_);
  std::swap(length_, other.length_);
  return *this;
}

template <class P>
KvSequence<P> KvSequence<P>::fork() const {
  KvSequence other(*pool_);
  other.pages_.assign(pages_.begin(), pages_.begin() + num_pages(length_, kPageRows));
  other.length_ = length_;
  for (const int32_t page : other.pages_) pool_->share(page);
  return other;
}

template <class P>
void KvSequence<P>::reserve(int64_t count) {
  const int64_t held = static_cast<int64_t>(pages_.size()), wanted = num_pages(length_ + count, kPageRows);
  const int64_t last = length_ / kPageRows, filled = length_ % kPageRows;  // the page that the next position is in
  const bool copies = count > 0 && filled > 0 && pool_->is_shared(pages_[static_cast<size_t>(last)]);
  pool_->require(std::max<int64_t>(0, wanted - held) + (copies ? 1 : 0));
  if (copies) {
    int32_t& page = pages_[static_cast<size_t>(last)];
    const int32_t own = pool_->take();
    pool_->copy(page, own, filled);
    pool_->give_back(std::exchange(page, own));
  }
  while (static_cast<int64_t>(pages_.size()) < wanted) pages_.push_back(pool_->take());
}

template <class P>
void KvSequence<P>::write(int64_t layer, Matrix<const operand> k_LGC, Matrix<const operand> v_LGC) {
  for (int64_t at = 0, count = 0; at < k_LGC.rows; at += count) {
    const int32_t page = pages_[static_cast<size_t>((length_ + at) / kPageRows)];
    const int64_t row = (length_ + at) % kPageRows;
    count = std::min(kPageRows - row, k_LGC.rows - at);
    run(Copy<operand>{k_LGC.rows_from(at, count), pool_->keys(page, layer, row, count)});
    run(Copy<operand>{v_LGC.rows_from(at, count), pool_->values(page, layer, row, count)});
  }
}

template <class P>
void KvSequence<P>::truncate(int64_t length) {
  length_ = std::min(length_, length);
  for (const auto kept = static_cast<size_t>(num_pages(length_, kPageRows)); pages_.size() > kept; pages_.pop_back())
    pool_->give_back(pages_.back());
}

template <class P>
void KvSequence<P>::append_segments(int64_t layer, int64_t rows, std::vector<KvSegment<operand>>& segments) const {
  for (int64_t at = 0; at < rows; at += kPageRows) {
    const int32_t page = pages_[static_cast<size_t>(at / kPageRows)];
    const int64_t count = std::min(kPageRows, rows - at);
    segments.push_back({pool_->keys(page, layer, 0, count), pool_->values(page, layer, 0, count)});
  }
}

template class KvPool<F64>;
template class KvPool<F32>;
template class KvPool<Bf16>;
template class KvSequence<F64>;
template class KvSequence<F32>;
template class KvSequence<Bf16>;

}  // namespace troupe
