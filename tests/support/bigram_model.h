// A language model that is a bigram table: log P(next | current) is exactly what the test says, up to float32 rounding.
//
// One layer of width D = V + 2 with tied one-hot embeddings e_i. Attention writes nothing. The FFN's hidden unit i is
// on for token i alone and replaces the residual stream by a multiple of
//   r_i = (logit_i0, ..., logit_iV-1, a_i, b_i),
// where a_i and b_i, which no embedding reads, make the mean 0 and the variance the same for every token; the final
// norm's weight undoes the norm's scale, so that logits = r_i.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "model/language_model.h"

namespace troupe::test {

class BigramTable {
 public:
  // logit(i, j): of token j after token i, any scale.
  BigramTable(int64_t V, const std::function<double(int64_t, int64_t)>& logit)
      : V_(V), logits_(static_cast<size_t>(V * V)), log_sum_(static_cast<size_t>(V)) {
    for (int64_t i = 0; i < V; ++i) {
      double sum = 0.0;
      for (int64_t j = 0; j < V; ++j) sum += std::exp(logits_[index(i, j)] = logit(i, j));
      log_sum_[static_cast<size_t>(i)] = std::log(sum);
    }
  }
  int64_t V() const { return V_; }
  double logit(int64_t i, int64_t j) const { return logits_[index(i, j)]; }
  double logprob(int64_t i, int64_t j) const { return logit(i, j) - log_sum_[static_cast<size_t>(i)]; }
  int64_t most_probable(int64_t i) const {
    const auto row = logits_.begin() + static_cast<std::ptrdiff_t>(i * V_);
    return std::max_element(row, row + V_) - row;
  }

 private:
  size_t index(int64_t i, int64_t j) const { return static_cast<size_t>(i * V_ + j); }
  int64_t V_;
  std::vector<double> logits_, log_sum_;
};

inline std::unique_ptr<LanguageModel> bigram_model(const BigramTable& table, int64_t context, int64_t eos_id) {
  const int64_t V = table.V(), D = V + 2;
  ModelConfig config;
  config.num_layers = 1, config.d_model = D, config.num_heads = 1, config.d_ff = V;
  config.vocab_size = V, config.context = context, config.eos_id = eos_id;
  config.positions = Positions::kLearned, config.scale_embedding = false;
  auto model = std::make_unique<LanguageModel>(config, Precision::kFp32);
  ParameterStore<float>& params = model->params();
  params.set_zero();
  const auto at = [&](const char* name) { return params.at(name); };
  for (int64_t i = 0; i < V; ++i) at("embed_tokens.weight")[static_cast<size_t>(i * D + i)] = 1.0f;
  for (const char* name : {"layers.0.attn_norm.weight", "layers.0.ffn_norm.weight"})
    std::fill(at(name).begin(), at(name).end(), 1.0f);

  // The FFN's norm turns e_i into `on` at i and `off` elsewhere.
  const double mean = 1.0 / static_cast<double>(D), deviation = std::sqrt(mean - mean * mean + 1e-5);
  const double on = (1.0 - mean) / deviation, off = -mean / deviation;
  constexpr double kGate = 64.0;  // gelu(kGate) = kGate, gelu(-kGate) = 0
  const double gain = 2.0 * kGate / (on - off);

  double variance = 0.0;  // sum of squares of every r_i
  std::vector<double> sums(static_cast<size_t>(V)), squares(static_cast<size_t>(V));
  for (int64_t i = 0; i < V; ++i) {
    for (int64_t j = 0; j < V; ++j) {
      sums[static_cast<size_t>(i)] += table.logit(i, j);
      squares[static_cast<size_t>(i)] += table.logit(i, j) * table.logit(i, j);
    }
    variance =
        std::max(variance, squares[static_cast<size_t>(i)] + 0.5 * std::pow(sums[static_cast<size_t>(i)], 2) + 1.0);
  }
  constexpr double kScale = 64.0;  // of the residual stream, so that the norm's epsilon vanishes
  for (int64_t i = 0; i < V; ++i) {
    at("layers.0.ffn.fc1.weight")[static_cast<size_t>(i * D + i)] = static_cast<float>(gain);
    at("layers.0.ffn.fc1.bias")[static_cast<size_t>(i)] = static_cast<float>(-gain * (on + off) / 2.0);
    const double half = -sums[static_cast<size_t>(i)] / 2.0;
    const double apart = std::sqrt((variance - squares[static_cast<size_t>(i)] - 2.0 * half * half) / 2.0);
    for (int64_t j = 0; j < D; ++j) {
      const double r = j < V ? table.logit(i, j) : j == V ? half + apart : half - apart;
      at("layers.0.ffn.fc2.weight")[static_cast<size_t>(j * V + i)] =
          static_cast<float>((kScale * r - (i == j ? 1.0 : 0.0)) / kGate);
    }
  }
  const double scale = std::sqrt(variance / static_cast<double>(D));
  std::fill(at("final_norm.weight").begin(), at("final_norm.weight").end(), static_cast<float>(scale));
  return model;
}

}  // namespace troupe::test
