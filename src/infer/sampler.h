// The next token from logits. The order is that of Hugging Face transformers: repetition penalty, temperature, top-k,
// top-p (nucleus, Holtzman et al. 2020), min-p (Nguyen et al. 2024), then one draw that depends only on (seed, index).
// Each filter sees what the one before left over, and at least the most probable token stays. Temperature 0 is greedy:
// the most probable token, lowest id on ties; the filters change nothing then, the penalty does.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace troupe {

struct SamplingOptions {
  double temperature = 1.0;
  int64_t top_k = 0;   // 0: all
  double top_p = 1.0;  // smallest set of tokens whose probability reaches this
  double min_p = 0.0;  // tokens at least this many times as probable as the most probable one
  double repetition_penalty = 1.0;
  uint64_t seed = 1;
};

// The seed of one of several samples: the first has the one that was asked for, so that a sample's text does not depend
// on how many there are. Derived ones have 53 bits, which any reader of JSON has exactly.
uint64_t sample_seed(uint64_t seed, int64_t sample);

// Keskar et al. 2019 (CTRL, section 4.1) as transformers' RepetitionPenaltyLogitsProcessor has it: the logit of every
// token that was there is divided by the penalty if it is positive and multiplied by it if not, once however often the
// token came. (CTRL's formula divides either, which would favour tokens with negative logits.)
class RepetitionPenalty {
 public:
  RepetitionPenalty(double penalty, int64_t vocab_size);  // 1: nothing happens
  void add(std::span<const int32_t> ids);
  void apply(std::span<float> logits_V) const;

 private:
  float penalty_;
  std::vector<bool> seen_;
  std::vector<int32_t> ids_;  // each once
};

// All but the penalty. `allowed`: the ids that may come; empty: all. Throws kNonFinite naming the first logit that is
// not finite.
int32_t sample(std::span<const float> logits_V, const SamplingOptions& options, uint64_t index,
               std::span<const int32_t> allowed = {});

}  // namespace troupe
