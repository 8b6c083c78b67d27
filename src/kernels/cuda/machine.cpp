#include "kernels/cuda/machine.h"

#include <atomic>
#include <bit>
#include <cstring>
#include <map>
#include <mutex>
#include <utility>
#include <vector>

#include "base/device.h"

namespace troupe::cuda {
namespace {

Machine* active = nullptr;
std::atomic<int64_t> held_bytes = 0, most_held_bytes = 0;

class MachineMemory final : public Memory {
 public:
  std::string_view name() const override { return "memory of the GPU"; }
  Device device() const override { return Device::kCuda; }
  void* allocate(int64_t bytes) override {
    void* const data = active->allocate(bytes);
    const int64_t held = held_bytes += bytes;
    for (int64_t most = most_held_bytes; held > most && !most_held_bytes.compare_exchange_weak(most, held);) {
    }
    return data;
  }
  void free(void* data, int64_t bytes) noexcept override {
    active->free(data);
    held_bytes -= bytes;
  }
};

class PinnedMemory final : public Memory {
 public:
  std::string_view name() const override { return "pinned memory of the host"; }
  Device device() const override { return Device::kCpu; }
  void* allocate(int64_t bytes) override {
    std::shared_ptr<void> block = host_block(bytes);
    std::memset(block.get(), 0, static_cast<size_t>(bytes));
    const std::lock_guard lock(mutex_);
    return (blocks_[block.get()] = block).get();
  }
  void free(void* data, int64_t) noexcept override {
    const std::lock_guard lock(mutex_);
    blocks_.erase(data);
  }

 private:
  std::mutex mutex_;
  std::map<void*, std::shared_ptr<void>> blocks_;
};

}  // namespace

std::string_view kernel_name(KernelId id) {
  static constexpr std::string_view names[] = {
#define TROUPE_CUDA_KERNEL(name, type) #name,
#include "kernels/cuda/kernels.inc"
#undef TROUPE_CUDA_KERNEL
  };
  return names[static_cast<size_t>(id)];
}

Machine* machine() { return active; }
void set_machine(Machine* machine) { active = machine; }

void use_machine(Machine& machine) {
  set_machine(&machine);
  use_device(Device::kCuda);
  use_memory(memory());
}

void leave_machine() {
  set_machine(nullptr);
  use_device(Device::kCpu);
  use_memory(host_memory());
}

// In sizes of powers of two.
std::shared_ptr<void> host_block(int64_t bytes) {
  static std::mutex mutex;
  static std::map<std::pair<Machine*, uint64_t>, std::vector<void*>> idle;
  const uint64_t size = std::bit_ceil(static_cast<uint64_t>(bytes));
  const std::lock_guard lock(mutex);
  std::vector<void*>& blocks = idle[{active, size}];
  if (blocks.empty()) blocks.push_back(active->allocate_host(static_cast<int64_t>(size)));
  void* const block = blocks.back();
  blocks.pop_back();
  return {block, [&blocks](void* unused) {
            const std::lock_guard lock(mutex);
            blocks.push_back(unused);
          }};
}

Memory& memory() {
  static MachineMemory memory;
  return memory;
}

Memory& pinned_memory() {
  static PinnedMemory memory;
  return memory;
}

int64_t most_bytes() { return most_held_bytes; }

std::string unavailable() { return active ? "" : "no GPU is in use"; }

}  // namespace troupe::cuda
