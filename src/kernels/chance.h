// Rounding to bf16 by chance: of the two numbers beside a value the nearer one is the likelier, in proportion, so that
// the mean is the value, and a sum that takes many small steps in bf16 does not stand still.
#pragma once

#include <bit>
#include <cstdint>

#include "tensor/bf16.h"

namespace troupe {

// `chance` is one of 0 ... 65535, each as likely as the others. What is not finite is rounded as ever.
constexpr bf16 round_by_chance(float value, uint32_t chance) {
  const auto word = std::bit_cast<uint32_t>(value);
  if ((word & 0x7F800000u) == 0x7F800000u) return bf16(value);
  bf16 rounded;
  rounded.bits = static_cast<uint16_t>((word + chance) >> 16);
  return rounded;
}

}  // namespace troupe
