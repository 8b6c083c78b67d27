// Memory for tensors that somebody owns: zeroed, 64-byte aligned.
#pragma once

#include <cstdint>
#include <span>
#include <utility>

#include "tensor/memory.h"

namespace troupe {

// Owns `bytes` of a memory.
class RawBuffer {
 public:
  RawBuffer() : RawBuffer(host_memory()) {}
  explicit RawBuffer(Memory& memory) : memory_(&memory) {}
  explicit RawBuffer(int64_t bytes, Memory& memory = host_memory()) : memory_(&memory), bytes_(bytes) {
    if (bytes > 0) data_ = memory.allocate(bytes);
  }
  RawBuffer(RawBuffer&& other) noexcept
      : memory_(other.memory_), data_(std::exchange(other.data_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}
  RawBuffer& operator=(RawBuffer&& other) noexcept {
    std::swap(memory_, other.memory_);
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~RawBuffer() {
    if (data_) memory_->free(data_, bytes_);
  }

  void* data() { return data_; }
  const void* data() const { return data_; }
  int64_t bytes() const { return bytes_; }
  Memory& memory() const { return *memory_; }

 private:
  Memory* memory_;
  void* data_ = nullptr;
  int64_t bytes_ = 0;
};

// Typed, fixed-size and move-only; elements start at zero.
template <class T>
class Buffer {
 public:
  Buffer() = default;
  explicit Buffer(Memory& memory) : raw_(memory) {}
  explicit Buffer(int64_t size, Memory& memory = host_memory())
      : raw_(size * static_cast<int64_t>(sizeof(T)), memory), size_(size) {}

  T* data() { return static_cast<T*>(raw_.data()); }
  const T* data() const { return static_cast<const T*>(raw_.data()); }
  int64_t size() const { return size_; }
  int64_t bytes() const { return raw_.bytes(); }
  Memory& memory() const { return raw_.memory(); }
  T& operator[](int64_t i) { return data()[i]; }
  const T& operator[](int64_t i) const { return data()[i]; }
  T* begin() { return data(); }
  const T* begin() const { return data(); }
  T* end() { return data() + size_; }
  const T* end() const { return data() + size_; }
  std::span<T> span() { return {data(), static_cast<size_t>(size_)}; }
  std::span<const T> span() const { return {data(), static_cast<size_t>(size_)}; }
  // Grows to at least `size` elements; contents are lost when it grows.
  void reserve(int64_t size) {
    if (size > size_) *this = Buffer(memory()), *this = Buffer(size, memory());  // never both at once
  }

 private:
  RawBuffer raw_;
  int64_t size_ = 0;
};

}  // namespace troupe
