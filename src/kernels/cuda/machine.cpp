#include "kernels/cuda/machine.h"

#include "base/device.h"

namespace troupe::cuda {
namespace {

Machine* active = nullptr;

class MachineMemory final : public Memory {
 public:
  std::string_view name() const override { return "memory of the GPU"; }
  Device device() const override { return Device::kCuda; }
  void* allocate(int64_t bytes) override { return active->allocate(bytes); }
  void free(void* data, int64_t) noexcept override { active->free(data); }
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

Memory& memory() {
  static MachineMemory memory;
  return memory;
}

std::string unavailable() { return active ? "" : "no GPU is in use"; }

}  // namespace troupe::cuda
