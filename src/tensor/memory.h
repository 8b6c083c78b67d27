// Where tensors lie: a memory hands out bytes of the host or of a device. Buffers, arenas and parameter stores take one
// when they are made. Which it is shows in no type: ops run where the process does (base/device.h), and what is above
// them only passes views on.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/device.h"

namespace troupe {

class Memory {
 public:
  virtual ~Memory() = default;

  virtual std::string_view name() const = 0;  // for messages
  virtual Device device() const = 0;          // whose ops reach it
  // `bytes` > 0 zeros, 64-byte aligned. Throws kEnvironment naming the size when they are refused.
  virtual void* allocate(int64_t bytes) = 0;
  // What allocate(bytes) returned.
  virtual void free(void* data, int64_t bytes) noexcept = 0;
};

// The host's: on huge pages where the kernel grants them (madvise).
Memory& host_memory();

// That of the device in use: the host's, unless use_memory() said otherwise before anything was made.
Memory& active_memory();
void use_memory(Memory& memory);

}  // namespace troupe
