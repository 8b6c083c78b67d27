// The capacity rule of an evaluation as people write it: dropless, train, a fraction such as 0.25, or configured.
#pragma once

#include <string>

#include "nn/run_mode.h"

namespace troupe {

// dropless    every choice is kept
// train       fairseq's training rule, 2 * ceil(S / E) (top-1: factor * ceil(S / E))
// FRACTION    ceil(FRACTION * S) places, in (0, 1]
// configured  what the model's configuration says
// Throws kUsage for anything else; S is the number of tokens of a routing group.
CapacityRule parse_capacity(const std::string& text);
std::string to_string(const CapacityRule& rule);

}  // namespace troupe
