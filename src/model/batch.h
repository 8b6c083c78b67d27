// One micro-batch of token ids and what a pass over it adds up.
#pragma once

#include <cstdint>
#include <vector>

namespace troupe {

struct Batch {
  int64_t B = 0, S = 0;
  std::vector<int32_t> src;    // [B, S] input ids
  std::vector<int32_t> tgt;    // [B, S] ids to predict; negative (or the model's pad id): not scored
  int64_t first_sequence = 0;  // index of row 0 in the global batch: keys dropout
  bool texts_apart = false;    // texts in src neither see nor count those before them; the model's eos_id begins one,
  std::vector<uint8_t> begins_text = {};  // [B, S] or, if this is given, what it marks

  int64_t tokens() const { return B * S; }
};

// Losses travel as sums with their token count and are divided once.
struct LossSum {
  double nll = 0.0;                  // sum of negative log-likelihoods, natural log
  double aux = 0.0;                  // sum over MoE layers of the balance loss times tokens, without its weight
  double z = 0.0;                    // sum over scored targets of (log of the sum of exp(logits))^2, in training
  double divergence = 0.0;           // with a teacher: of its choices from the model's, over scored targets, in training
  double total = 0.0;                // nll, weighted aux, z and divergence: what the gradient is of
  int64_t tokens = 0;                // scored targets
  int64_t choices = 0, dropped = 0;  // (token, expert) choices made and dropped for lack of capacity

  LossSum& operator+=(const LossSum& other) {
    nll += other.nll, aux += other.aux, z += other.z, divergence += other.divergence, total += other.total;
    tokens += other.tokens, choices += other.choices, dropped += other.dropped;
    return *this;
  }
  double drop_rate() const { return choices ? static_cast<double>(dropped) / static_cast<double>(choices) : 0.0; }
};

}  // namespace troupe
