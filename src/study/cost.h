// What a model costs: parameters and training FLOPs, under the paper's rule or Troupe's own, and the paper's Table 1
// beside what the formulas give.
#pragma once

#include <string>
#include <vector>

#include "model/flops.h"
#include "model/presets.h"
#include "troupe/config.h"

namespace troupe {

// Narayanan et al. (2021) as the study uses it: activations recomputed, router ignored, V = 50,000.
constexpr FlopsRule paper_rule() { return {.recompute = true, .router = false, .vocab_size = 50000}; }
constexpr double kPaperTokens = 300e9;
constexpr int64_t kPaperSeqLen = 2048;

struct Cost {
  int64_t params_total = 0;
  int64_t params_active = 0;   // that one token passes through
  int64_t params_experts = 0;  // part of params_total
  ForwardFlops forward;        // per token
  double flops_per_token = 0;  // of training
  double train_flops = 0;

  double train_zflops() const { return train_flops / 1e21; }
};

Cost cost_of(const ModelConfig& config, double tokens, int64_t seq_len, const FlopsRule& rule);

// One row of Table 1: 300e9 tokens of 2,048 under the paper's rule.
struct PaperRow {
  const Preset* preset;
  std::string params;  // computed, to the digits printed
  std::string zflops;
  bool params_equal = false;  // true for a nominal size, which counts nothing
  bool zflops_equal = false;

  bool equal() const { return params_equal && zflops_equal; }
};

std::vector<PaperRow> paper_table();

// `value` with as many decimals as `printed` has before its unit, and that unit: ("14.6B", 14605713408) -> "14.6B".
// Units: B (1e9), M (1e6) or none.
std::string as_printed(std::string_view printed, double value);

}  // namespace troupe
