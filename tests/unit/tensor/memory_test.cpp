// What owns tensors takes its bytes from the memory that it was given, and gives each back once.
#include "tensor/memory.h"

#include <gtest/gtest.h>

#include <utility>

#include "counting_memory.h"
#include "error_of.h"
#include "tensor/arena.h"

namespace troupe {
namespace {

TEST(Memory, OfTheHostIsZeroedAlignedAndRefusesByItsSize) {
  for (const int64_t bytes : {int64_t{1}, int64_t{5000}, (int64_t{2} << 20) + 1}) {
    auto* const data = static_cast<unsigned char*>(host_memory().allocate(bytes));
    EXPECT_EQ(reinterpret_cast<uintptr_t>(data) % 64, 0u);
    EXPECT_EQ(data[0] + data[bytes - 1], 0);
    host_memory().free(data, bytes);
  }
  EXPECT_EQ(test::error_of([] { host_memory().allocate(int64_t{1} << 60); }, ErrorCode::kEnvironment),
            "memory: expected 1152921504606846976 bytes, got a refusal from the system");
  EXPECT_EQ(active_memory().device(), active_device());
}

TEST(Memory, OfABufferStaysItsOwn) {
  test::CountingMemory memory;
  {
    Buffer<float> buffer(memory);
    EXPECT_EQ(memory.allocations, 0);
    buffer.reserve(10);
    EXPECT_EQ(memory.held_bytes, 40);
    buffer.reserve(7);
    EXPECT_EQ(memory.allocations, 1);
    buffer.reserve(20);
    EXPECT_EQ(memory.held_bytes, 80);
    EXPECT_EQ(&buffer.memory(), &memory);
    Buffer<float> other = std::move(buffer);
    EXPECT_EQ(&other.memory(), &memory);
    other = Buffer<float>(3);  // now the host's
    EXPECT_EQ(&other.memory(), &host_memory());
    EXPECT_EQ(memory.held_bytes, 0);
  }
  EXPECT_EQ(memory.held_bytes, 0);
  EXPECT_EQ(memory.allocations, 2);
}

TEST(Memory, OfAnArenaServesEveryPlan) {
  test::CountingMemory memory;
  {
    Arena arena(memory);
    for (const int64_t count : {100, 50, 1000}) {
      arena.restart();
      arena.span<float>("values", count);
      arena.commit();
      EXPECT_NE(arena.span<float>("values", count).data(), nullptr);
      EXPECT_GE(memory.held_bytes, arena.bytes());
    }
    EXPECT_EQ(memory.allocations, 2);  // the smaller plan fits
  }
  EXPECT_EQ(memory.held_bytes, 0);
}

}  // namespace
}  // namespace troupe
