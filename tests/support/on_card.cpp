// Linked into a test program instead of the emulated grid: its rows for CUDA run on the first GPU. With TROUPE_MANAGED
// all that the program allocates from then on is memory that both sides reach, so that tests of single rows run as they
// are; without, models lie in the GPU's own memory, and tests copy what they compare.
#include <bit>
#include <cstdint>
#include <cstdlib>
#include <mutex>
#include <new>

#include "base/device.h"
#include "kernels/cuda/driver.h"
#include "tensor/memory.h"

namespace troupe::test {
namespace {

#ifdef TROUPE_MANAGED
// Pieces of powers of two from one large piece of managed memory; what is given back is handed out again.
class Pool {
 public:
  void open() {
    begin_ = next_ = static_cast<char*>(cuda::machine()->allocate(kBytes));
    end_ = begin_ + kBytes;
  }
  bool is_open() const { return end_ != nullptr; }
  bool owns(const void* data) const { return data >= begin_ && data < end_; }
  void* take(size_t bytes) {
    const int size = class_of(bytes);
    const std::lock_guard lock(mutex_);
    if (Free* const free = free_[size]) {
      free_[size] = free->next;
      return free;
    }
    char* const data = next_;
    if (data + (size_t{1} << size) > end_) return nullptr;
    next_ += size_t{1} << size;
    return data;
  }
  void give(void* data, size_t bytes) {
    const int size = class_of(bytes);
    const std::lock_guard lock(mutex_);
    free_[size] = new (data) Free{free_[size]};
  }
  static int class_of(size_t bytes) { return std::max(8, static_cast<int>(std::bit_width(bytes - 1))); }

 private:
  static constexpr int64_t kBytes = int64_t{8} << 30;
  struct Free {
    Free* next;
  };
  char *begin_ = nullptr, *next_ = nullptr, *end_ = nullptr;
  Free* free_[48] = {};
  std::mutex mutex_;
};

Pool& pool() {
  static Pool pool;
  return pool;
}

class ManagedMemory final : public Memory {
 public:
  std::string_view name() const override { return "managed memory"; }
  Device device() const override { return active_device(); }
  void* allocate(int64_t bytes) override { return cuda::machine()->allocate(bytes); }
  void free(void* data, int64_t) noexcept override { cuda::machine()->free(data); }
};

[[maybe_unused]] const bool kInUse = [] {
  cuda::open_card(0, cuda::CardMemory::kManaged);
  static ManagedMemory memory;
  use_device(Device::kCpu);
  use_memory(memory);
  pool().open();
  return true;
}();
#else
[[maybe_unused]] const bool kInUse = [] {
  cuda::open_card(0);
  use_device(Device::kCpu);
  use_memory(host_memory());
  return true;
}();
#endif

}  // namespace
}  // namespace troupe::test

#ifdef TROUPE_MANAGED
// A header before every piece says where it is from.
namespace {
constexpr size_t kHeader = 64;
struct Header {
  size_t bytes;
  bool pooled;
};
}  // namespace

void* operator new(size_t bytes) {
  auto& pool = troupe::test::pool();
  void* const data =
      pool.is_open() ? pool.take(bytes + kHeader) : std::aligned_alloc(64, (bytes + 2 * kHeader) / 64 * 64);
  if (!data) throw std::bad_alloc();
  new (data) Header{bytes + kHeader, pool.is_open()};
  return static_cast<char*>(data) + kHeader;
}
void operator delete(void* data) noexcept {
  if (!data) return;
  void* const whole = static_cast<char*>(data) - kHeader;
  const Header header = *static_cast<Header*>(whole);
  header.pooled ? troupe::test::pool().give(whole, header.bytes) : std::free(whole);
}
void operator delete(void* data, size_t) noexcept { operator delete(data); }
#endif
