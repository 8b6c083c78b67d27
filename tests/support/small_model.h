// A model small enough for any loop over cases, and its batches, for tests that run whole models several ways.
#pragma once

#include <cstdint>

#include "model/batch.h"
#include "model/language_model.h"

namespace troupe::test {

struct ModelCase {
  const char* name;
  void (*set)(ModelConfig&, DecoderOptions&);
};

inline ModelConfig small_config() {
  ModelConfig config{.num_layers = 2, .d_model = 32, .num_heads = 2, .d_ff = 64, .vocab_size = 50, .context = 16};
  config.dropout = config.attention_dropout = 0.1;
  config.pad_id = 1;
  return config;
}

// Ids with padding in the last sequence.
inline Batch padded_batch(const ModelConfig& config, int64_t step, int64_t micro) {
  Batch batch{.B = 2, .S = 8, .src = {}, .tgt = {}, .first_sequence = micro * 2};
  for (int64_t i = 0; i < batch.tokens(); ++i) {
    batch.src.push_back(i > 12 ? static_cast<int32_t>(config.pad_id) : static_cast<int32_t>(5 + (i * 7 + step) % 40));
    batch.tgt.push_back(i > 12 ? -1 : static_cast<int32_t>(5 + (i * 11 + step) % 40));
  }
  return batch;
}

}  // namespace troupe::test
