// Adapters in training: their matrices are W + s B A, everything else stays, and no memory is held for it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "base/rng.h"
#include "error_of.h"
#include "model/decoder_parameters.h"
#include "train/lora_config.h"
#include "train/trainer.h"

namespace troupe {
namespace {

ModelConfig sparse_model() {
  ModelConfig config{.num_layers = 2, .d_model = 32, .num_heads = 2, .d_ff = 64, .vocab_size = 60, .context = 16};
  config.ffn_gated = true, config.moe.num_experts = 4, config.moe.expert_d_ff = 40, config.moe.balance_bias = true;
  return config;
}

Batch lora_batch_at(int64_t, int64_t micro) {  // the same every time
  Batch batch{.B = 3, .S = 16, .first_sequence = 3 * micro};
  for (int64_t i = 0; i < batch.tokens(); ++i) {
    batch.src.push_back(static_cast<int32_t>(7 * i % 60));
    batch.tgt.push_back(static_cast<int32_t>(11 * i % 60));
  }
  return batch;
}

const std::vector<std::string> kAll = {"q_proj",  "v_proj",    "o_proj",  "gate_proj",
                                       "up_proj", "down_proj", "experts", "router"};

const std::vector<std::string> kOfTokens = {"q_proj", "k_proj", "o_proj", "gate_proj", "up_proj", "down_proj"};

Trainer lora_trainer(LanguageModel& model, const std::vector<std::string>& targets, double dropout = 0.0) {
  initialize(model.params(), 3);
  return Trainer(model, Schedule({.kind = ScheduleKind::kConstant, .lr = 1e-2}, 100),
                 {.micro_batches = 2, .lora = LoraOptions{lora_targets(targets), 4, 2.0, 7, dropout}}, lora_batch_at);
}

TEST(LoraTraining, MovesAdaptedMatricesByTheirProductAlone) {
  LanguageModel model(sparse_model(), Precision::kFp32), before(sparse_model(), Precision::kFp32);
  initialize(before.params(), 3);
  Trainer trainer = lora_trainer(model, kAll);
  const double first = trainer.step().loss.nll;
  double last = first;
  for (int step = 0; step < 20; ++step) last = trainer.step().loss.nll;
  EXPECT_LT(last, 0.9 * first);
  const LoraParameters& adapters = *trainer.adapters();
  std::set<std::string> adapted;
  for (const LoraTarget& target : adapters.targets) {
    SCOPED_TRACE(target.weight.name);
    for (int64_t i = target.weight.slot.begin; i < target.weight.slot.end; ++i)
      adapted.insert(model.table().entries()[static_cast<size_t>(i)].name);
    const auto w = std::as_const(before).params().at(target.weight.slot);
    const auto now = std::as_const(model).params().at(target.weight.slot);
    const std::span<const float> a = trainer.trained().at(target.a), b = trainer.trained().at(target.b);
    double moved = 0.0;
    for (int64_t row = 0; row < target.maps * target.rows; ++row)
      for (int64_t col = 0; col < target.cols; ++col) {
        double ba = 0.0;
        for (int64_t k = 0; k < 4; ++k)
          ba += static_cast<double>(b[static_cast<size_t>(row * 4 + k)]) *
                static_cast<double>(a[static_cast<size_t>((row / target.rows * 4 + k) * target.cols + col)]);
        const auto at = static_cast<size_t>(row * target.cols + col);
        EXPECT_NEAR(now[at], static_cast<double>(w[at]) + 2.0 * ba, 2e-6);
        moved += std::abs(ba);
      }
    EXPECT_GT(moved, 0.0);
  }
  for (const Parameter& parameter : model.table().entries())
    EXPECT_TRUE(adapted.contains(parameter.name) ||
                std::ranges::equal(std::as_const(model).params().at(parameter.slot),
                                   std::as_const(before).params().at(parameter.slot)))
        << parameter.name;
  EXPECT_FALSE(adapted.contains("layers.0.attn.k_proj.weight"));
  EXPECT_TRUE(adapted.contains("layers.1.moe.experts.3.fc1.weight"));
  EXPECT_TRUE(adapted.contains("layers.1.moe.router.weight"));
}

TEST(LoraTraining, BeginsWithTheModelAsItIs) {
  LanguageModel model(sparse_model(), Precision::kFp32), before(sparse_model(), Precision::kFp32);
  initialize(before.params(), 3);
  Trainer trainer = lora_trainer(model, kAll);
  EXPECT_TRUE(std::ranges::equal(std::as_const(model).params().all(), std::as_const(before).params().all()));
}

// Of A it is 0, as B is.
TEST(LoraTraining, TheFirstUpdateHasAGradientOfB) {
  LanguageModel model(sparse_model(), Precision::kFp32);
  Trainer trainer = lora_trainer(model, kAll);
  EXPECT_GT(trainer.step().grad_norm, 0.0);
  for (const LoraTarget& target : trainer.adapters()->targets)
    EXPECT_TRUE(std::ranges::any_of(std::as_const(trainer).gradients().at(target.b), [](float g) { return g != 0.0f; }))
        << target.weight.name;
}

// s B^T dW' and s dW' A^T of the gradient dW' of whole matrices, summed over micro-batches.
TEST(LoraTraining, GradientsAreThoseOfWholeMatrices) {
  for (const Precision precision : {Precision::kFp32, Precision::kBf16}) {
    LanguageModel model(sparse_model(), precision), same(sparse_model(), precision);
    Trainer trainer = lora_trainer(model, kAll);
    const LoraParameters& adapters = *trainer.adapters();
    Rng rng(5);
    for (float& value : trainer.trained().all()) value = static_cast<float>(0.1 * rng.normal());
    trainer.merge_adapters();
    std::ranges::copy(std::as_const(model).params().all(), same.params().all().begin());
    ParameterStore<float> before(adapters.table), whole(same.table());
    std::ranges::copy(trainer.trained().all(), before.all().begin());
    for (int64_t micro = 0; micro < 2; ++micro) same.forward_backward(lora_batch_at(0, micro), {}, whole);
    trainer.step();
    for (const LoraTarget& target : adapters.targets) {
      const std::span<const float> a = std::as_const(before).at(target.a), b = std::as_const(before).at(target.b);
      const std::span<const float> dw = std::as_const(whole).at(target.weight.slot);
      std::vector<double> da(a.size()), db(b.size());
      for (int64_t row = 0; row < target.maps * target.rows; ++row)
        for (int64_t col = 0; col < target.cols; ++col)
          for (int64_t k = 0; k < 4; ++k) {
            const auto in_a = static_cast<size_t>((row / target.rows * 4 + k) * target.cols + col);
            const auto in_b = static_cast<size_t>(row * 4 + k), in_dw = static_cast<size_t>(row * target.cols + col);
            da[in_a] += 2.0 * static_cast<double>(b[in_b]) * static_cast<double>(dw[in_dw]);
            db[in_b] += 2.0 * static_cast<double>(dw[in_dw]) * static_cast<double>(a[in_a]);
          }
      const auto expect = [&](const std::vector<double>& wanted, Slot slot) {
        const std::span<const float> got = trainer.gradients().at(slot);
        double largest = 0.0;
        for (const double value : wanted) largest = std::max(largest, std::abs(value));
        EXPECT_GT(largest, 0.0) << target.weight.name;
        const double allowed = (precision == Precision::kFp32 ? 1e-5 : 3e-2) * largest;  // bf16: two roundings, 2^-8
        for (size_t i = 0; i < wanted.size(); ++i) EXPECT_NEAR(got[i], wanted[i], allowed) << target.weight.name;
      };
      expect(da, target.a), expect(db, target.b);
    }
  }
}

// A dropout that drops nothing leaves what merged matrices compute, but for roundings; one that does, another loss.
TEST(LoraTraining, DroppingNothingIsAsMerged) {
  for (const Precision precision : {Precision::kFp32, Precision::kBf16}) {
    const auto nlls = [&](double dropout) {
      LanguageModel model(sparse_model(), precision);
      Trainer trainer = lora_trainer(model, kOfTokens, dropout);
      std::vector<double> nlls;
      for (int step = 0; step < 6; ++step) nlls.push_back(trainer.step().loss.nll);
      nlls.push_back(model.score(lora_batch_at(0, 0), {}).nll);  // by merged matrices
      return nlls;
    };
    const std::vector<double> merged = nlls(0.0), kept = nlls(1e-12), dropped = nlls(0.5);
    for (size_t i = 0; i < merged.size(); ++i)
      EXPECT_NEAR(kept[i], merged[i], (precision == Precision::kFp32 ? 1e-5 : 1e-2) * merged[i]) << i;
    EXPECT_NEAR(dropped[0], merged[0], 1e-2 * merged[0]);  // B is 0
    EXPECT_GT(std::abs(dropped[5] - merged[5]), 1e-3 * merged[5]);
  }
}

TEST(LoraTraining, MicroBatchesAndRecomputingChangeNoMask) {
  const auto trained = [&](int64_t micro_batches, bool recompute) {
    LanguageModel model(sparse_model(), Precision::kFp32, {.recompute = recompute});
    initialize(model.params(), 3);
    const auto batch_at = [&](int64_t, int64_t micro) {
      Batch batch = lora_batch_at(0, 0);
      const int64_t rows = micro_batches == 1 ? 3 : 1;
      const auto part = [&](std::vector<int32_t>& ids) {
        ids = {ids.begin() + micro * 16, ids.begin() + (micro + rows) * 16};
      };
      if (micro_batches > 1) part(batch.src), part(batch.tgt), batch.B = 1, batch.first_sequence = micro;
      return batch;
    };
    Trainer trainer(model, Schedule({.kind = ScheduleKind::kConstant, .lr = 1e-2}, 100),
                    {.micro_batches = micro_batches, .lora = LoraOptions{lora_targets(kOfTokens), 4, 2.0, 7, 0.5}},
                    batch_at);
    double nll = 0.0;
    for (int step = 0; step < 4; ++step) nll = trainer.step().loss.nll;
    return nll;
  };
  const double whole = trained(1, false);
  EXPECT_NEAR(trained(3, false), whole, 1e-4 * whole);
  EXPECT_EQ(trained(1, true), whole);
}

// A model that a trainer with adapters has left trains as any.
TEST(LoraTraining, LeavesTheModelAsItWas) {
  LanguageModel model(sparse_model(), Precision::kFp32);
  for (const double dropout : {0.0, 0.5}) {
    { Trainer trainer = lora_trainer(model, dropout > 0.0 ? kOfTokens : kAll, dropout); }
    ParameterStore<float> grads(model.table());
    EXPECT_GT(model.forward_backward(lora_batch_at(0, 0), {}, grads).nll, 0.0);  // would write to what is gone
  }
}

TEST(LoraTraining, HoldsMomentsOfAdaptersAlone) {
  LanguageModel model(sparse_model(), Precision::kFp32);
  Trainer trainer = lora_trainer(model, {"q_proj"});
  const int64_t elements = 2 * 4 * (32 + 32);
  EXPECT_EQ(trainer.adapters()->table.num_parameters(), elements);
  EXPECT_EQ(static_cast<int64_t>(trainer.optimizer().first_moment().all().size()), elements);
  EXPECT_EQ(static_cast<int64_t>(trainer.gradients().all().size()), elements);
}

TEST(LoraConfig, NamesWhatCannotBe) {
  const ParameterTable table = make_parameter_table(sparse_model());
  ModelConfig plain = sparse_model();
  plain.ffn_gated = false, plain.moe = {};
  const ParameterTable dense = make_parameter_table(plain);
  const auto error = [](const LoraConfig& config, const ParameterTable& of) {
    return test::error_of([&] { check_lora(config, of, "a.toml"); }, ErrorCode::kUsage);
  };
  using testing::HasSubstr;
  for (const char* target : {"experts", "router"})
    EXPECT_THAT(error({.rank = 1, .dropout = 0.1, .targets = {"q_proj", target}}, table),
                HasSubstr(std::string("a.toml: finetune.lora.dropout: expected 0 beside the target ") + target));
  EXPECT_THAT(error({.rank = 1, .targets = {}}, table), HasSubstr("expected some of q_proj, "));
  EXPECT_THAT(error({.rank = 1, .targets = {"wq"}}, table),
              HasSubstr("finetune.lora.targets: expected some of q_proj"));
  EXPECT_THAT(error({.rank = 1, .targets = {"q_proj", "q_proj"}}, table), HasSubstr("got q_proj twice"));
  EXPECT_THAT(error({.rank = 1, .targets = {"gate_proj"}}, table),
              HasSubstr("expected gate_proj and up_proj together"));
  EXPECT_THAT(error({.rank = 1, .targets = {"experts"}}, dense), HasSubstr("got experts, of which it has none"));
  EXPECT_THAT(error({.rank = 1, .targets = {"gate_proj"}}, dense), HasSubstr("got gate_proj, of which it has none"));
  check_lora({.rank = 1, .dropout = 0.1, .targets = {"up_proj", "down_proj"}}, dense, "x");
}

}  // namespace
}  // namespace troupe
