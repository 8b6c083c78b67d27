#include "tensor/memory.h"

#include <sys/mman.h>

#include "base/error.h"

namespace troupe {
namespace {

constexpr int64_t kHugePage = int64_t{2} << 20;

size_t mapped_bytes(int64_t bytes) {
  return static_cast<size_t>(bytes < kHugePage ? bytes : (bytes + kHugePage - 1) / kHugePage * kHugePage);
}

class HostMemory final : public Memory {
 public:
  std::string_view name() const override { return "memory"; }
  Device device() const override { return Device::kCpu; }
  void* allocate(int64_t bytes) override {
    const size_t mapped = mapped_bytes(bytes);
    void* const data = mmap(nullptr, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (data == MAP_FAILED)
      fail(ErrorCode::kEnvironment, "{}: expected {} bytes, got a refusal from the system", name(), bytes);
    if (bytes >= kHugePage) madvise(data, mapped, MADV_HUGEPAGE);  // a hint: failure is harmless
    return data;
  }
  void free(void* data, int64_t bytes) noexcept override { munmap(data, mapped_bytes(bytes)); }
};

}  // namespace

Memory& host_memory() {
  static HostMemory memory;
  return memory;
}

namespace {

Memory* in_use = nullptr;

}  // namespace

Memory& active_memory() { return in_use ? *in_use : host_memory(); }
void use_memory(Memory& memory) { in_use = &memory; }

}  // namespace troupe
