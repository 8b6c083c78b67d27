// Keys and values of the pasts of sequences, in pages of 64 positions. A page holds its positions for every layer, as
// the attention op reads them. Sequences that begin alike share pages (fork()), which changes no bit.
#pragma once

#include <cstdint>
#include <limits>
#include <vector>

#include "kernels/kv_segment.h"
#include "tensor/buffer.h"
#include "tensor/matrix.h"
#include "troupe/config.h"

namespace troupe {

template <class P>
class KvSequence;

// Where pages come from and go back to. Serves one thread and must outlive its sequences.
template <class P>
class KvPool {
 public:
  using operand = typename P::operand;
  static constexpr int64_t kPageRows = 64;  // a block of keys of the attention kernels
  static constexpr int64_t kNoLimit = std::numeric_limits<int32_t>::max();

  // `memory`: that of the model's parameters. It is taken in slabs as pages are needed and stays until the pool goes:
  // what sequences give back, others take. A slab has a buffer a layer, below a huge page of the system unless one
  // page is more: those are cleared as a whole, while rows that short sequences leave empty should cost nothing.
  KvPool(const ModelConfig& config, Memory& memory, int64_t max_pages = kNoLimit);
  KvPool(const KvPool&) = delete;
  KvPool& operator=(const KvPool&) = delete;

  int64_t pages_in_use() const { return static_cast<int64_t>(users_.size() - free_.size()); }
  int64_t pages_allocated() const { return static_cast<int64_t>(users_.size()); }

 private:
  friend class KvSequence<P>;
  using Slab = std::vector<Buffer<operand>>;  // of each layer, [slab_pages, 2, kPageRows, width]: keys, values

  // Makes sure that take() will find that many pages; throws kEnvironment if they are more than the limit leaves.
  void require(int64_t count);
  int32_t take();
  void share(int32_t page) { ++users_[static_cast<size_t>(page)]; }
  void give_back(int32_t page);
  bool is_shared(int32_t page) const { return users_[static_cast<size_t>(page)] > 1; }
  void copy(int32_t from, int32_t to, int64_t rows);  // the first `rows` positions
  operand* data(int32_t page, int64_t layer);
  Matrix<operand> keys(int32_t page, int64_t layer, int64_t row, int64_t count);
  Matrix<operand> values(int32_t page, int64_t layer, int64_t row, int64_t count);

  int64_t num_layers_, width_, max_pages_;  // width: of a row of keys
  int64_t page_size_, slab_pages_;          // page_size: of a page in one layer
  Memory& memory_;
  std::vector<Slab> slabs_;
  std::vector<int32_t> users_;  // of each page
  std::vector<int32_t> free_;
};

// The past of one sequence: a list of pages.
template <class P>
class KvSequence {
 public:
  using operand = typename P::operand;

  explicit KvSequence(KvPool<P>& pool) : pool_(&pool) {}
  KvSequence(KvSequence&& other) noexcept;
  KvSequence& operator=(KvSequence&& other) noexcept;
  ~KvSequence() { truncate(0); }

  // A sequence with the same past. They share its pages, until one writes into the last: it takes a copy then.
  KvSequence fork() const;

  int64_t length() const { return length_; }

  // Room for `count` more positions. Throws kEnvironment, and changes nothing, if the pool has not enough pages left.
  // The new rows of each layer are then written by write(), and counted by advance() once all layers are.
  void reserve(int64_t count);
  void write(int64_t layer, Matrix<const operand> k_LGC, Matrix<const operand> v_LGC);
  void advance(int64_t count) { length_ += count; }
  void truncate(int64_t length);  // forgets what follows, if anything does

  // Appends the segments of the first `rows` positions of a layer, one a page.
  void append_segments(int64_t layer, int64_t rows, std::vector<KvSegment<operand>>& segments) const;

 private:
  static constexpr int64_t kPageRows = KvPool<P>::kPageRows;

  KvPool<P>* pool_;
  std::vector<int32_t> pages_;
  int64_t length_ = 0;
};

}  // namespace troupe
