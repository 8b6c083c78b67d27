// What a GPU does for a process, as seen by the rows for CUDA of the ops: memory, copies, launches in one order. Behind
// it stands a driver (driver.h), or in tests the emulated grid (emulator.h).
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "kernels/cuda/kernels.h"
#include "tensor/memory.h"

namespace troupe::cuda {

enum class KernelId {
#define TROUPE_CUDA_KERNEL(name, type) name,
#include "kernels/cuda/kernels.inc"
#undef TROUPE_CUDA_KERNEL
};
constexpr int kNumKernels = 0
#define TROUPE_CUDA_KERNEL(name, type) +1
#include "kernels/cuda/kernels.inc"
#undef TROUPE_CUDA_KERNEL
    ;
std::string_view kernel_name(KernelId id);

// The number of a kernel in kernels.inc.
template <class Kernel>
constexpr KernelId kKernelId = Kernel::is_not_in_kernels_inc;
#define TROUPE_UNWRAP(...) __VA_ARGS__
#define TROUPE_CUDA_KERNEL(name, type) \
  template <>                          \
  inline constexpr KernelId kKernelId<TROUPE_UNWRAP type> = KernelId::name;
#include "kernels/cuda/kernels.inc"
#undef TROUPE_CUDA_KERNEL
#undef TROUPE_UNWRAP

// Calls come from any thread; what they ask for happens in their order.
class Machine {
 public:
  virtual ~Machine() = default;

  virtual std::string description() const = 0;  // for people: card, driver
  // `bytes` > 0 zeros. Throws kEnvironment when they are refused.
  virtual void* allocate(int64_t bytes) = 0;
  virtual void free(void* data) noexcept = 0;
  virtual std::optional<int64_t> free_bytes() { return std::nullopt; }  // that can be allocated now, if it is known
  // Rows of `width` bytes, `src_pitch` and `dst_pitch` bytes apart; each side is the host's or the device's. The host
  // may use its side when the call returns.
  virtual void copy(const void* src, int64_t src_pitch, void* dst, int64_t dst_pitch, int64_t width, int64_t rows) = 0;
  // Memory of the host that fetch() writes, until the process ends.
  virtual void* allocate_host(int64_t bytes) = 0;
  // Copies from the device to memory of allocate_host() in the order of other work. The host may read it when arrive()
  // of the number that is returned has waited for it, and for nothing that was asked for later.
  virtual int64_t fetch(const void* src, void* dst, int64_t bytes) = 0;
  virtual void arrive(int64_t fetched) = 0;
  // Runs blocks [0, blocks) of the kernel at `kernel` (its struct, of `bytes` bytes).
  virtual void launch(KernelId id, int64_t blocks, int threads, const void* kernel, int64_t bytes) = 0;
  // For libraries, which then work in the same order; the calling thread is in the GPU's context. nullptr: emulated.
  virtual void* stream() = 0;
  // To be called after a library was asked to read or write at these places there.
  virtual void asked(std::string_view library, std::span<const void* const> places) = 0;
  virtual void wait() = 0;  // until all of it is done; throws kEnvironment if something failed
};

// That of this process; nullptr: none is open.
Machine* machine();
// Ops may run on it (active_device() is as before), and memory() is its.
void set_machine(Machine* machine);
// And they do: active_device() and active_memory() are its from now on.
void use_machine(Machine& machine);
// Before the first op: there is none again, and the processor is used.
void leave_machine();

// The memory of machine().
Memory& memory();
// Memory of the host that machine() copies from and to without a detour, in blocks of host_block().
Memory& pinned_memory();
// The most bytes of it that were held at once so far.
int64_t most_bytes();

// Why ops cannot run on it, or "".
std::string unavailable();

// Whether bytes between the fields of a launched kernel are 0, so that the emulated grid may look for addresses in it.
#if defined(__has_builtin)
#if __has_builtin(__builtin_clear_padding)
#define TROUPE_CLEAR_PADDING(object) __builtin_clear_padding(object)
constexpr bool kPaddingIsZero = true;
#endif
#endif
#ifndef TROUPE_CLEAR_PADDING
#define TROUPE_CLEAR_PADDING(object)
constexpr bool kPaddingIsZero = false;
#endif

template <class Kernel>
void launch(Kernel kernel) {
  static_assert(Kernel::kThreads % kWarp == 0);
  TROUPE_CLEAR_PADDING(&kernel);
  if (const int64_t blocks = kernel.blocks(); blocks > 0)
    machine()->launch(kKernelId<Kernel>, blocks, Kernel::kThreads, &kernel, static_cast<int64_t>(sizeof(Kernel)));
}

template <class T>
void copy(const T* src, T* dst, int64_t count) {
  const int64_t bytes = count * static_cast<int64_t>(sizeof(T));
  if (count > 0) machine()->copy(src, bytes, dst, bytes, bytes, 1);
}

// `bytes` of allocate_host() that others get when nobody has them any more.
std::shared_ptr<void> host_block(int64_t bytes);

// `count` values on their way to the host, in the order of other work: who asks for them waits for them alone.
template <class T>
class Fetched {
 public:
  Fetched(const T* src, int64_t count) : count_(count) {
    if (count == 0) return;
    const int64_t bytes = count * static_cast<int64_t>(sizeof(T));
    block_ = host_block(bytes);
    number_ = machine()->fetch(src, block_.get(), bytes);
  }
  std::span<const T> get() const {
    if (count_ > 0) machine()->arrive(number_);
    return {static_cast<const T*>(block_.get()), static_cast<size_t>(count_)};
  }

 private:
  int64_t count_, number_ = 0;
  std::shared_ptr<void> block_;
};

}  // namespace troupe::cuda
