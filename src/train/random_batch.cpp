#include "train/random_batch.h"

#include "base/rng.h"

namespace troupe {

Batch random_batch(int64_t B, int64_t S, int64_t vocab_size, int64_t step, int64_t micro) {
  Batch batch{.B = B, .S = S, .src = {}, .tgt = {}, .first_sequence = micro * B};
  Rng rng(static_cast<uint64_t>(step), static_cast<uint64_t>(micro));
  for (int64_t i = 0; i < batch.tokens(); ++i) {
    batch.src.push_back(static_cast<int32_t>(rng.below(static_cast<uint64_t>(vocab_size))));
    batch.tgt.push_back(static_cast<int32_t>(rng.below(static_cast<uint64_t>(vocab_size))));
  }
  return batch;
}

}  // namespace troupe
