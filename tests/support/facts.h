// The facts of some families, for tests that change one model of their own into others.
#pragma once

#include "troupe/config.h"

namespace troupe::test {

inline void llama_facts(ModelConfig& config) {
  config.positions = Positions::kRotary, config.norm = Norm::kRms, config.scale_embedding = false;
  config.activation = FfnActivation::kSilu, config.ffn_gated = true, config.tied_output = false;
  config.qkv_bias = config.out_bias = config.ffn_bias = false;
  if (config.num_heads % 2 == 0) config.kv_heads = config.num_heads / 2;
}

inline void qwen3_facts(ModelConfig& config) {
  llama_facts(config);
  config.qk_norm = QkNorm::kHead, config.head_dim = 10;
}

inline void olmo2_facts(ModelConfig& config) {
  llama_facts(config);
  config.qk_norm = QkNorm::kWhole, config.norm_place = NormPlace::kAfter;
}

inline void gpt_neox_facts(ModelConfig& config) {
  config.positions = Positions::kRotary, config.rope.part = 0.5, config.parallel_block = true;
  config.tied_output = false, config.scale_embedding = false;
}

inline void granite_facts(ModelConfig& config) {
  llama_facts(config);
  config.embedding_multiplier = 6.0, config.residual_multiplier = 0.5, config.attention_multiplier = 0.2;
  config.logit_divisor = 4.0;
}

inline void qwen2_moe_facts(ModelConfig& config) {
  llama_facts(config);
  config.qkv_bias = true, config.moe.shared_d_ff = 20, config.moe.shared_gate = true;
}

}  // namespace troupe::test
