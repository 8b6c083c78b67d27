// A small sparse model and its training, alone or on ranks, for tests that compare them.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <span>

#include "model/workspace.h"
#include "small_model.h"
#include "train/trainer.h"

namespace troupe::test {

struct RankCase {
  const char* name;
  void (*set)(ModelConfig&, DecoderOptions&, TrainerOptions&);
  Precision precision = Precision::kFp32;
  int updates = 2;
};

// What cases of more than one test set.
inline void sigmoid_biases(ModelConfig& m, DecoderOptions&, TrainerOptions&) {
  m.moe.score = RouterScore::kSigmoid, m.moe.balance_bias = true, m.moe.bias_rate = 0.05;
  m.moe.balance_choices = BalanceChoices::kAll, m.moe.balance_over = BalanceOver::kUpdate;
  m.moe.input_jitter = 0.1;
}
inline void hash_router(ModelConfig& m, DecoderOptions&, TrainerOptions&) { m.moe.router = RouterKind::kHash; }
inline void expert_choice(ModelConfig& m, DecoderOptions&, TrainerOptions&) {
  m.moe.router = RouterKind::kExpertChoice, m.moe.normalize = Normalize::kNever;
}

inline ModelConfig base_config() {
  ModelConfig config = small_config();
  config.moe.num_experts = 5;  // uneven shares of 2, 3 and 4 ranks
  config.moe.every = 2;
  config.moe.expert_d_ff = 48;
  return config;
}

// Six sequences, so that 4 ranks have 1, 2, 1 and 2; padding in the last, and targets that are not scored.
inline Batch batch_at(const ModelConfig& config, int64_t step, int64_t micro) {
  Batch batch{.B = 6, .S = 8, .src = {}, .tgt = {}, .first_sequence = micro * 6};
  for (int64_t i = 0; i < batch.tokens(); ++i) {
    const bool pad = i > 43;
    batch.src.push_back(pad ? static_cast<int32_t>(config.pad_id) : static_cast<int32_t>(5 + (i * 7 + step + micro * 3) % 40));
    batch.tgt.push_back(pad || i % 11 == 0 ? -1 : static_cast<int32_t>(5 + (i * 13 + step) % 40));
  }
  return batch;
}

struct RankedTraining {
  ModelConfig config = base_config();
  TrainerOptions options{.seed = 7, .micro_batches = 2, .clip_norm = 0.5};
  DecoderOptions decoder;
  std::function<void(Batch&)> edit;
  LanguageModel model;
  const bool is_filled = (initialize(model.params(), 3), true);  // before adapters are made on it
  Trainer trainer;

  RankedTraining(const RankCase& c, Communicator* ranks)
      : decoder(set_up(c, ranks)),
        model(config, c.precision, decoder),
        trainer(model, Schedule({.lr = 1e-3, .warmup_steps = 2}, 20), options,
                [this](int64_t step, int64_t micro) {
                  Batch batch = batch_at(config, step, micro);
                  if (edit) edit(batch);
                  return batch;
                }) {}
  DecoderOptions set_up(const RankCase& c, Communicator* ranks) {
    DecoderOptions made;
    c.set(config, made, options);
    made.ranks = ranks;
    return made;
  }
  void poison() {
    model.visit([](auto& decoder) { decoder.workspace().poison(); });
  }
};

inline bool same_bits(std::span<const float> a, std::span<const float> b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size_bytes()) == 0;
}

// Largest difference in units of the largest element of `expected`.
inline double difference(std::span<const float> actual, std::span<const float> expected) {
  double most = 0.0, difference = 0.0;
  EXPECT_EQ(actual.size(), expected.size());
  for (size_t i = 0; i < expected.size(); ++i) {
    most = std::max(most, std::abs(static_cast<double>(expected[i])));
    difference = std::max(difference, std::abs(static_cast<double>(actual[i]) - expected[i]));
  }
  return std::isfinite(difference) ? (most > 0 ? difference / most : difference) : 1.0;
}

}  // namespace troupe::test
