#include "tensor/buffer.h"

#include <sys/mman.h>

#include "base/error.h"

namespace troupe {

RawBuffer::RawBuffer(int64_t bytes) : bytes_(bytes) {
  if (bytes <= 0) return;
  constexpr int64_t kHugePage = int64_t{2} << 20;
  if (bytes >= kHugePage) bytes_ = (bytes + kHugePage - 1) / kHugePage * kHugePage;
  data_ = mmap(nullptr, static_cast<size_t>(bytes_), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (data_ == MAP_FAILED) {
    data_ = nullptr;
    fail(ErrorCode::kEnvironment, "memory: expected {} bytes, got a refusal from the system", bytes);
  }
  if (bytes_ >= kHugePage) madvise(data_, static_cast<size_t>(bytes_), MADV_HUGEPAGE);  // a hint: failure is harmless
}

RawBuffer::~RawBuffer() {
  if (data_) munmap(data_, static_cast<size_t>(bytes_));
}

}  // namespace troupe
