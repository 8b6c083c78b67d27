// IEEE binary16, as files store it; computing is in float32 (its other direction is in bf16.h).
#pragma once

#include <cstdint>

namespace troupe {

// Rounds to nearest, ties to even; beyond the largest half it is infinity, NaN stays NaN.
uint16_t float_to_half(float value);

}  // namespace troupe
