// Dropout masks are functions of (key, element), so forward and backward draw the same mask and neither micro-batches
// nor threads change it. The key mixes seed, step, layer and site; the element is position * width + column with the
// position counted in the global batch.
#pragma once

#include <cstdint>

#include "base/rng.h"

namespace troupe {

struct Dropout {
  float probability = 0.0f;  // 0: every element is kept
  uint64_t key = 0;
  int64_t first_row = 0;  // global position of row 0
  // Every element's besides, dropout or not: the weight of a branch in the residual stream, a divisor of logits.
  float multiplier = 1.0f;

  constexpr bool active() const { return probability > 0.0f; }
  // multiplier / (1 - p) for a kept element, 0 for a dropped one.
  constexpr float scale(int64_t row, int64_t col, int64_t width) const {
    if (!active()) return multiplier;
    const uint64_t element = static_cast<uint64_t>((first_row + row) * width + col);
    const uint32_t word = philox(key, element >> 2)[element & 3];
    return static_cast<float>(word >> 8) * 0x1.0p-24f < probability ? 0.0f : multiplier / (1.0f - probability);
  }
};

}  // namespace troupe
