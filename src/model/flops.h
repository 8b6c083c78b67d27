// Floating-point operations per token, counted as 2 per multiply-add of the matrix products; norms, activations,
// softmax and lookups are left out, as is usual. Attention counts the full square of scores (no credit for the causal
// half). Every choice of an expert is counted: dropped ones too.
#pragma once

#include <cstdint>

#include "troupe/config.h"

namespace troupe {

// What is counted. The defaults are Troupe's own; the paper's are in study/cost.h.
struct FlopsRule {
  bool recompute = false;  // layers run forward twice in training (the output layer never does)
  bool router = true;      // count the router's product
  int64_t vocab_size = 0;  // columns of the output layer; 0 means the model's
};

// Forward pass, FLOPs per token, summed over layers.
struct ForwardFlops {
  double projections = 0;  // q, k, v, out: 4 D (H C + G C) a layer, 8 D^2 if heads have all keys and make up D
  double attention = 0;    // scores and their weighted sum: 4 S H C a layer, with S at most its window
  double dense_ffn = 0;    // 4 D F a dense layer, 6 D F if gated
  double experts = 0;      // 4 D (K F_e + F_shared) a MoE layer, 6 in place of 4 if gated
  double router = 0;       // 2 D E a MoE layer, if counted
  double output = 0;       // 2 D V

  double layers() const { return projections + attention + dense_ffn + experts + router; }
  double total() const { return layers() + output; }
};

ForwardFlops forward_flops_per_token(const ModelConfig& config, int64_t seq_len, const FlopsRule& rule = {});

// Forward and backward (twice the forward), plus the second forward of the layers with recomputation. For a dense model
// with F = 4 D and l layers this is 72 l D^2 (1 + S/(6 D) + V/(12 l D)), and 96 l D^2 (1 + S/(6 D) + V/(16 l D)) with
// recomputation (Narayanan et al. 2021, appendix); top-2 in every second layer adds 24 l D^2, or 32 l D^2.
double train_flops_per_token(const ModelConfig& config, int64_t seq_len, const FlopsRule& rule = {});

}  // namespace troupe
