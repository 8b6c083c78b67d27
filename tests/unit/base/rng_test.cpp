#include "base/rng.h"

#include <gtest/gtest.h>

namespace troupe {
namespace {

using Words = std::array<uint32_t, 4>;

// kat_vectors of Random123 1.14, "philox4x32 10", by whose authors the generator is.
TEST(Philox, GivesTheAnswersOfItsAuthors) {
  EXPECT_EQ(philox(0, 0, 0), (Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(philox(UINT64_MAX, UINT64_MAX, UINT64_MAX), (Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(philox(0x299f31d0'a4093822, 0x85a308d3'243f6a88, 0x03707344'13198a2e),
            (Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(Rng, GoesThroughTheCounters) {
  Rng rng(5, 9);
  for (uint64_t counter = 0; counter < 3; ++counter)
    for (const uint32_t word : philox(5, counter, 9)) EXPECT_EQ(rng.next_u32(), word);
}

TEST(Rng, StaysInRange) {
  Rng rng(1);
  std::array<int, 3> seen{};
  for (int i = 0; i < 3000; ++i) ++seen[rng.below(3)];
  for (const int count : seen) EXPECT_NEAR(count, 1000, 120);
  EXPECT_EQ(rng.below(1), 0u);
  for (int i = 0; i < 1000; ++i) {
    const double value = rng.uniform();
    EXPECT_TRUE(value >= 0.0 && value < 1.0);
  }
}

}  // namespace
}  // namespace troupe
