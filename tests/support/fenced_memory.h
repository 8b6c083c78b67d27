// Memory as a device's is to the host: once closed, a touch outside of a running op ends the process. One at a time.
#pragma once

#include <sys/mman.h>

#include <iterator>
#include <map>

#include "ops/op.h"
#include "tensor/memory.h"

namespace troupe::test {

class FencedMemory final : public Memory {
 public:
  ~FencedMemory() override { open(); }

  std::string_view name() const override { return "fenced memory"; }
  Device device() const override { return active_device(); }
  void* allocate(int64_t bytes) override {
    const size_t whole = (static_cast<size_t>(bytes) + 4095) / 4096 * 4096;
    void* const data = mmap(nullptr, whole, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    blocks_[data] = whole;
    protect();
    return data;
  }
  void free(void* data, int64_t) noexcept override {
    munmap(data, blocks_[data]);
    blocks_.erase(data);
  }

  bool holds(const void* data) const {
    const auto after = blocks_.upper_bound(const_cast<void*>(data));
    if (after == blocks_.begin()) return false;
    const auto& [begin, bytes] = *std::prev(after);
    return data < static_cast<const char*>(begin) + bytes;
  }

  void close() {
    closed_ = this;
    watch_ops = [](bool running) {
      closed_->running_ = running;
      closed_->protect();
    };
    protect();
  }
  void open() {
    if (closed_ != this) return;
    watch_ops = nullptr;
    closed_ = nullptr;
    protect();
  }

 private:
  void protect() {
    for (const auto& [data, bytes] : blocks_)
      mprotect(data, bytes, closed_ == this && !running_ ? PROT_NONE : PROT_READ | PROT_WRITE);
  }

  static inline FencedMemory* closed_ = nullptr;
  bool running_ = false;  // an op, which may ask for memory
  std::map<void*, size_t> blocks_;
};

}  // namespace troupe::test
