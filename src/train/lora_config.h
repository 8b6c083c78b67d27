// Table [finetune.lora]: low-rank adapters in place of the matrices themselves.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "nn/parameters.h"
#include "troupe/fields.h"

namespace troupe {

struct LoraConfig {
  int64_t rank = 0;
  double alpha = 16.0;
  double dropout = 0.0;
  std::vector<std::string> targets = {"q_proj", "v_proj"};

  bool is_used() const { return rank > 0; }
  double scale() const { return alpha / static_cast<double>(rank); }

  template <class V>
  void fields(V& v) {
    v("rank", rank, range(0, 65536), "r of the adapters, which alone are trained; 0: there are none");
    v("alpha", alpha, range(1e-6, 1e6), "a matrix is W + alpha / rank * B A");
    v("dropout", dropout, range(0, 0.999),
      "of the adapters' inputs alone, in training (lora_dropout of PEFT); not for experts and router");
    v("targets", targets, any_value(),
      "matrices that have an adapter, by PEFT's names of Llama's: q_proj, k_proj, v_proj, o_proj; gate_proj, up_proj "
      "(without a gate fc1), down_proj (fc2); and experts, router");
  }
};

// Whether a family of matrices is one of these targets.
Selection lora_targets(const std::vector<std::string>& targets);

// Throws kUsage "WHERE: finetune.lora.targets: ..." for a name that is none or that the model has no matrix of, and
// "WHERE: finetune.lora.dropout: ..." for one of matrices whose rows are no tokens or that choose experts.
void check_lora(const LoraConfig& config, const ParameterTable& table, const std::string& where);

}  // namespace troupe
