// Named model sizes with their published recipe: one row each. The models are those of Artetxe et al. (2021),
// "Efficient Large Scale Language Modeling with Mixtures of Experts", table 1; the gpt3-* rows (Brown et al. 2020,
// table 2.1) serve comparisons of cost.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "troupe/config.h"

namespace troupe {

struct PresetFamily {
  std::string_view source;
  Positions positions;
};

struct Preset {
  std::string_view name;
  int64_t num_layers, d_model, num_heads, num_experts;
  double batch_tokens;  // tokens per optimizer step; 0 where the recipe is not used here (gpt3-*)
  double learning_rate;
  double dropout;
  double weight_decay;
  std::string_view published_params;  // as printed, "14.6B"
  bool nominal_params;                // a size class rather than a count: 124M printed as 0.125B
  std::string_view published_zflops;  // training on 300e9 tokens, as printed
  PresetFamily family;
};

std::span<const Preset> presets();
const Preset& find_preset(std::string_view name);  // throws kUsage: "--preset: expected one of ..., got ..."

// 51,200 embedding rows, context 2,048, FFN width 4 D, sinusoidal positions (gpt3-*: learned), MoE in every second
// layer, top-2, fairseq's capacity, as the study trained them.
ModelConfig make_config(const Preset& preset);

}  // namespace troupe
