// Memory for tensors: zeroed, 64-byte aligned, on huge pages where the kernel grants them (madvise).
#pragma once

#include <cstdint>
#include <span>
#include <utility>

namespace troupe {

// Owns `bytes` of anonymous memory. Throws kEnvironment naming the size when the system refuses.
class RawBuffer {
 public:
  RawBuffer() = default;
  explicit RawBuffer(int64_t bytes);
  RawBuffer(RawBuffer&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}
  RawBuffer& operator=(RawBuffer&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~RawBuffer();

  void* data() { return data_; }
  const void* data() const { return data_; }
  int64_t bytes() const { return bytes_; }

 private:
  void* data_ = nullptr;
  int64_t bytes_ = 0;
};

// Typed, fixed-size and move-only; elements start at zero.
template <class T>
class Buffer {
 public:
  Buffer() = default;
  explicit Buffer(int64_t size) : raw_(size * static_cast<int64_t>(sizeof(T))), size_(size) {}

  T* data() { return static_cast<T*>(raw_.data()); }
  const T* data() const { return static_cast<const T*>(raw_.data()); }
  int64_t size() const { return size_; }
  int64_t bytes() const { return raw_.bytes(); }
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
    if (size > size_) *this = Buffer(size);
  }

 private:
  RawBuffer raw_;
  int64_t size_ = 0;
};

}  // namespace troupe
