#include "kernels/cuda/emulator.h"

#include <sys/mman.h>

#include <cstdlib>
#include <cstring>
#include <iterator>
#include <memory>

#include "base/error.h"
#include "base/threads.h"

namespace troupe::cuda {
namespace {

template <class Kernel>
void run_blocks(const void* parameters, int64_t blocks, bool backwards) {
  const Kernel& kernel = *static_cast<const Kernel*>(parameters);
  const int64_t at_a_time = blocks / 64 + 1;
  parallel_chunks(blocks, at_a_time, [&](int64_t begin, int64_t end) {
    const auto shared = std::make_unique<typename Kernel::Shared>();
    for (int64_t number = begin; number < end; ++number) {
      std::memset(static_cast<void*>(shared.get()), 0xFF, sizeof(typename Kernel::Shared));
      kernel.run({.number = backwards ? blocks - 1 - number : number, .backwards = backwards}, *shared);
    }
  });
}

bool is_mapped(uintptr_t address) {
  constexpr uintptr_t kPage = 4096, kFirst = uintptr_t{1} << 32;  // what is less is a number
  return address >= kFirst && msync(reinterpret_cast<void*>(address / kPage * kPage), 1, MS_ASYNC) == 0;
}

using RunBlocks = void (*)(const void*, int64_t, bool);
#define TROUPE_UNWRAP(...) __VA_ARGS__
constexpr RunBlocks kRunBlocks[] = {
#define TROUPE_CUDA_KERNEL(name, type) run_blocks<TROUPE_UNWRAP type>,
#include "kernels/cuda/kernels.inc"
#undef TROUPE_CUDA_KERNEL
};

}  // namespace

bool Emulator::may_reach(const void* place) {
  const std::lock_guard lock(mutex_);
  const auto after = blocks_.upper_bound(const_cast<void*>(place));
  return reaches_(place) ||
         (after != blocks_.begin() &&
          static_cast<const char*>(place) < static_cast<char*>(std::prev(after)->first) + std::prev(after)->second);
}

void* Emulator::allocate(int64_t bytes) {
  void* const data = std::aligned_alloc(64, static_cast<size_t>((bytes + 63) / 64 * 64));
  if (!data) fail(ErrorCode::kEnvironment, "emulated grid: expected {} bytes, got a refusal", bytes);
  const std::lock_guard lock(mutex_);
  blocks_[data] = bytes;
  return std::memset(data, 0, static_cast<size_t>(bytes));
}

void Emulator::free(void* data) noexcept {
  {
    const std::lock_guard lock(mutex_);
    blocks_.erase(data);
  }
  std::free(data);
}

void Emulator::copy(const void* src, int64_t src_pitch, void* dst, int64_t dst_pitch, int64_t width, int64_t rows) {
  waits_ += reaches_ && may_reach(src) && !may_reach(dst);
  for (int64_t row = 0; row < rows; ++row)
    std::memcpy(static_cast<char*>(dst) + row * dst_pitch, static_cast<const char*>(src) + row * src_pitch,
                static_cast<size_t>(width));
}

void* Emulator::allocate_host(int64_t bytes) {
  const std::lock_guard lock(mutex_);
  return host_blocks_.emplace_back(std::make_unique<char[]>(static_cast<size_t>(bytes))).get();
}

int64_t Emulator::fetch(const void* src, void* dst, int64_t bytes) {
  require_reach("a copy to the host", {&src, 1});
  const auto* const from = static_cast<const char*>(src);
  const std::lock_guard lock(mutex_);
  on_their_way_[fetches_] = {dst, {from, from + bytes}};
  std::memset(dst, 0xFF, static_cast<size_t>(bytes));
  return fetches_++;
}

void Emulator::arrive(int64_t fetched) {
  ++waits_;
  const std::lock_guard lock(mutex_);
  for (auto next = on_their_way_.begin(); next != on_their_way_.end() && next->first <= fetched;
       next = on_their_way_.erase(next))
    std::memcpy(next->second.to, next->second.bytes.data(), next->second.bytes.size());
}

void Emulator::asked(std::string_view library, std::span<const void* const> places) {
  ++launches_;
  require_reach(library, places);
}

void Emulator::require_reach(std::string_view what, std::span<const void* const> places) {
  for (const void* place : places)
    if (reaches_ && place && !may_reach(place))
      fail(ErrorCode::kInternal, "emulated grid: {}: expected memory of the GPU, got the host's", what);
}

// A kernel is a struct of pointers and numbers: what in it is an address that the host has mapped is a pointer.
void Emulator::launch(KernelId id, int64_t blocks, int, const void* kernel, int64_t bytes) {
  ++launches_;
  for (int64_t at = 0; kPaddingIsZero && reaches_ && at + 8 <= bytes; at += 8) {
    uintptr_t word = 0;
    std::memcpy(&word, static_cast<const char*>(kernel) + at, sizeof word);
    if (is_mapped(word) && !may_reach(reinterpret_cast<const void*>(word)))
      fail(ErrorCode::kInternal,
           "emulated grid: {}: expected memory of the GPU at byte {} of its parameters, got the host's",
           kernel_name(id), at);
  }
  kRunBlocks[static_cast<size_t>(id)](kernel, blocks, backwards_);
}

Emulator& emulator() {
  static Emulator emulator;
  return emulator;
}

}  // namespace troupe::cuda
