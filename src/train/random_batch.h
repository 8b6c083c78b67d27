// Batches of random tokens, for measuring speed where there is no data.
#pragma once

#include <cstdint>

#include "model/batch.h"

namespace troupe {

// B sequences of S tokens, each id with the same probability; a function of (step, micro) alone.
Batch random_batch(int64_t B, int64_t S, int64_t vocab_size, int64_t step, int64_t micro);

}  // namespace troupe
