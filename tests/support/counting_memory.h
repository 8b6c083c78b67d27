// The host's memory with a count of what was taken from it.
#pragma once

#include "tensor/memory.h"

namespace troupe::test {

class CountingMemory final : public Memory {
 public:
  std::string_view name() const override { return "counting memory"; }
  Device device() const override { return Device::kCpu; }
  void* allocate(int64_t bytes) override {
    void* const data = host_memory().allocate(bytes);
    held_bytes += bytes, ++allocations;
    return data;
  }
  void free(void* data, int64_t bytes) noexcept override {
    host_memory().free(data, bytes);
    held_bytes -= bytes;
  }

  int64_t held_bytes = 0, allocations = 0;
};

}  // namespace troupe::test
