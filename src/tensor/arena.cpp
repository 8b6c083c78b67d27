#include "tensor/arena.h"

#include <cstring>

#include "base/error.h"

namespace troupe {

void Arena::restart() {
  entries_.clear();
  planned_ = used_ = 0;
  committed_ = false;
}

void Arena::commit() {
  Memory& memory = memory_.memory();
  if (planned_ > memory_.bytes()) memory_ = RawBuffer(memory), memory_ = RawBuffer(planned_, memory);
  committed_ = true;
}

void Arena::poison() {
  if (planned_ > 0) std::memset(memory_.data(), 0xff, static_cast<size_t>(planned_));
}

char* Arena::take(const std::string& name, int64_t bytes) {
  constexpr int64_t kMost = int64_t{1} << 62;  // sums and paddings below it fit 64 bits
  if (bytes > kMost - planned_)
    fail(ErrorCode::kEnvironment, "memory for {}: expected a plan of at most 2^62 bytes, got one above", name);
  const int64_t padded = (bytes + 63) / 64 * 64;
  if (!committed_) {
    entries_.push_back({name, padded});
    planned_ += padded;
    return nullptr;
  }
  char* const start = static_cast<char*>(memory_.data()) + used_;
  used_ += padded;
  if (used_ > planned_)
    fail(ErrorCode::kInternal, "arena: {}: second pass exceeds the plan of {} bytes", name, planned_);
  return start;
}

}  // namespace troupe
