// Ranks whose models lie on a GPU, as the emulated grid has one: what they exchange passes through memory of the host,
// as ops and MPI reach it in turn. Beside one process on the grid, and beside as many ranks on processors.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "dist/communicator.h"
#include "on_the_grid.h"
#include "ops/transfer.h"
#include "ranked_training.h"
#include "ranks.h"
#include "shared_folder.h"
#include "train/pretrain.h"
#include "training.h"

namespace troupe {
namespace {

using test::difference;
using test::OnTheGrid;
using test::same_bits;
using test::world;
using Case = test::RankCase;
using Training = test::RankedTraining;

std::vector<float> on_host(std::span<const float> values) {
  std::vector<float> copied(values.size());
  copy<float>(values, copied);
  return copied;
}

struct Outcome {
  std::vector<StepStats> steps;
  std::map<std::string, std::vector<float>> gradients, weights;  // gradients: of the first update, of what is moved here
  std::map<std::string, Role> roles;
  std::vector<float> nll;
};

// Sums of a library on a real card are of another order for other numbers of rows.
bool on_card() { return cuda::machine() && cuda::machine()->stream(); }

// Trains and scores; `grid`: there.
Outcome outcome(const Case& c, Communicator* ranks, OnTheGrid* grid, const std::function<void(Batch&)>& edit = {}) {
  Training training(c, ranks);
  training.edit = edit;
  Outcome out;
  for (int step = 0; step < c.updates; ++step) {
    if (!on_card()) training.poison();
    if (grid) grid->close();
    out.steps.push_back(training.trainer.step());
    for (const Parameter& parameter : training.trainer.gradients().entries()) {
      if (step > 0 || (ranks && !training.trainer.shares()->is_own(parameter))) continue;
      out.gradients[parameter.name] = on_host(std::as_const(training.trainer).gradients().at(parameter.slot));
      out.roles[parameter.name] = parameter.role;
    }
    if (grid) grid->open();
  }
  if (grid) grid->close();
  Batch batch = test::batch_at(training.config, 20, 0);
  out.nll.resize(static_cast<size_t>(batch.tokens()));
  training.model.score(batch, {}, out.nll);
  for (const Parameter& parameter : std::as_const(training.model).params().entries())
    out.weights[parameter.name] = on_host(std::as_const(training.model).params().at(parameter.slot));
  return out;
}

Outcome on_the_grid(const Case& c, Communicator* ranks, const std::function<void(Batch&)>& edit = {}) {
  OnTheGrid grid;
  return outcome(c, ranks, &grid, edit);
}

enum class Bits { kThoseOfExperts, kNone };

// `near`: of sums; in bf16 of the first update alone.
void expect_equal(const Case& c, const Outcome& actual, const Outcome& expected, double near, Bits bits) {
  ASSERT_EQ(actual.steps.size(), expected.steps.size());
  if (on_card()) near = std::max(near, 2e-5), bits = Bits::kNone;
  const double later = c.precision == Precision::kBf16 ? 2e-2 : near;
  for (size_t step = 0; step < expected.steps.size(); ++step) {
    SCOPED_TRACE(step);
    const StepStats &is = actual.steps[step], &was = expected.steps[step];
    const double tolerance = step == 0 ? near : later;
    EXPECT_EQ(is.loss.tokens, was.loss.tokens);
    EXPECT_NEAR(is.loss.total, was.loss.total, tolerance * was.loss.total);
    EXPECT_NEAR(is.loss.aux, was.loss.aux, tolerance * was.loss.aux);
    EXPECT_NEAR(is.grad_norm, was.grad_norm, tolerance * was.grad_norm);
    for (size_t layer = 0; step == 0 && layer < was.routers.size(); ++layer) {
      EXPECT_EQ(is.routers[layer].load_E, was.routers[layer].load_E);
      EXPECT_EQ(is.routers[layer].dropped_K, was.routers[layer].dropped_K);
    }
  }
  for (const auto& [name, gradient] : actual.gradients) {
    const std::vector<float>& whole = expected.gradients.at(name);
    // There sums of biases are cut by the rows of all experts.
    const bool exact = bits == Bits::kThoseOfExperts && actual.roles.at(name) == Role::kExpert && !name.ends_with(".bias");
    if (exact) {
      EXPECT_TRUE(same_bits(gradient, whole)) << name << ": " << difference(gradient, whole);
    } else if (!name.ends_with("k_proj.bias")) {  // whose true gradient is zero
      EXPECT_LE(difference(gradient, whole), near) << name;
    }
  }
  for (const auto& [name, values] : actual.weights)
    if (!values.empty()) {
      EXPECT_LE(difference(values, expected.weights.at(name)), later < 1e-2 ? 2e-2 : 0.2) << name;
    }
  EXPECT_LE(difference(actual.nll, expected.nll), later < 1e-2 ? 1e-3 : 0.1);
}

class GridRanks : public testing::TestWithParam<Case> {};

TEST_P(GridRanks, TrainWhatOneProcessTrainsThereAndRanksOnProcessors) {
  const Case& c = GetParam();
  const Outcome actual = on_the_grid(c, &world());
  for (const double other : world().all_of(actual.steps.back().grad_norm, "test"))
    ASSERT_EQ(other, actual.steps.back().grad_norm);
  const Training facts(c, nullptr);
  const bool copies = facts.config.moe.num_experts < world().size();
  expect_equal(c, actual, on_the_grid(c, nullptr), 1e-6, copies ? Bits::kNone : Bits::kThoseOfExperts);
  // In bf16 a token between two experts may go to the other one.
  if (c.precision == Precision::kFp32) expect_equal(c, actual, outcome(c, &world(), nullptr), 2e-5, Bits::kNone);
  EXPECT_EQ(on_the_grid(c, &world()).weights, actual.weights);
}

INSTANTIATE_TEST_SUITE_P(
    Ranks, GridRanks,
    testing::Values(
        Case{"dropless", [](ModelConfig&, DecoderOptions&, TrainerOptions&) {}, Precision::kFp32, 10},
        Case{"bf16", [](ModelConfig&, DecoderOptions&, TrainerOptions&) {}, Precision::kBf16},
        Case{"dense", [](ModelConfig& m, DecoderOptions&, TrainerOptions&) { m.moe.num_experts = 0; }},
        Case{"prioritized",
             [](ModelConfig& m, DecoderOptions& d, TrainerOptions&) {
               m.moe.capacity = Capacity::kFairseq, m.moe.batch_prioritized = true, m.moe.pad_mask = true;
               m.moe.second_choice = SecondChoice::kSampling, d.recompute = true;
             }},
        Case{"groups",
             [](ModelConfig& m, DecoderOptions&, TrainerOptions&) {
               m.moe.capacity = Capacity::kFairseq, m.moe.group_sequences = 1, m.moe.router_z_loss = 0.01;
             }},
        Case{"sigmoid_biases", test::sigmoid_biases},
        Case{"hash", test::hash_router},
        Case{"expert_choice", test::expert_choice},
        Case{"copies_muon",
             [](ModelConfig& m, DecoderOptions&, TrainerOptions& t) {
               m.moe.num_experts = 2, m.ffn_gated = true, t.optimizer.matrices = MatrixOptimizer::kMuon;
             }},
        Case{"shared_expert",
             [](ModelConfig& m, DecoderOptions&, TrainerOptions&) {
               m.moe.shared_d_ff = 24, m.moe.shared_gate = true;
             }},
        Case{"adapters",
             [](ModelConfig& m, DecoderOptions&, TrainerOptions& t) {
               m.ffn_gated = true;
               const auto adapted = [](const Parameter& p) {
                 return p.shape.size() == 2 && p.layer >= 0 && p.name.ends_with(".weight");
               };
               t.lora = LoraOptions{.adapted = adapted, .rank = 3, .scale = 2.0};
             }}),
    [](const auto& info) { return std::string(info.param.name); });

// One sequence: all other ranks have none, and do their part for experts alone.
TEST(GridRanks, FewerSequencesThanRanks) {
  const Case whole{"whole", [](ModelConfig& m, DecoderOptions&, TrainerOptions&) { m.moe.shared_d_ff = 24; }};
  const Case grouped{"grouped", [](ModelConfig& m, DecoderOptions&, TrainerOptions&) {
                       m.moe.group_sequences = 1, m.moe.capacity = Capacity::kFairseq;
                     }};
  for (const Case& c : {whole, grouped}) {
    SCOPED_TRACE(c.name);
    const auto one = [](Batch& batch) {
      batch.B = 1;
      batch.src.resize(static_cast<size_t>(batch.tokens())), batch.tgt.resize(static_cast<size_t>(batch.tokens()));
    };
    expect_equal(c, on_the_grid(c, &world(), one), on_the_grid(c, nullptr, one), 1e-6, Bits::kThoseOfExperts);
  }
}

// All rows go to the experts of other ranks.
TEST(GridRanks, ARankWhoseExpertsGetNoRows) {
  const Case c{"idle", [](ModelConfig& m, DecoderOptions&, TrainerOptions&) {
                 m.moe.score = RouterScore::kSigmoid, m.moe.balance_bias = true;
               }};
  const auto gradients_of = [&](Communicator* ranks) {
    OnTheGrid grid;
    Training training(c, ranks);
    const Share idle = share_of(training.config.moe.num_experts, 0, world().size());
    for (const Parameter& parameter : training.model.params().entries())
      if (parameter.role == Role::kState)
        from_host<float>(training.model.params().at(parameter.slot), [&](std::span<float> biases) {
          for (int64_t e = 0; e < training.config.moe.num_experts; ++e)
            biases[static_cast<size_t>(e)] = e >= idle.begin && e < idle.end ? -100.0f : 0.0f;
        });
    grid.close();
    training.trainer.step();
    std::map<std::string, std::vector<float>> all;
    for (const Parameter& parameter : training.trainer.gradients().entries())
      if (!ranks || training.trainer.shares()->is_own(parameter))
        all[parameter.name] = on_host(std::as_const(training.trainer).gradients().at(parameter.slot));
    return all;
  };
  const auto actual = gradients_of(&world()), expected = gradients_of(nullptr);
  for (const auto& [name, gradient] : actual)
    if (!name.ends_with("k_proj.bias")) {
      EXPECT_LE(difference(gradient, expected.at(name)), 2e-6) << name;
    }
}

// As fairseq does.
TEST(GridRanks, ScalesExpertsByTheRootOfTheRanks) {
  const Case c{"sqrt", [](ModelConfig& m, DecoderOptions&, TrainerOptions& t) {
                 m.moe.num_experts = 3, t.expert_gradients = ExpertGradients::kSqrtWorldSize;
               }};
  expect_equal(c, on_the_grid(c, &world()), outcome(c, &world(), nullptr), 2e-5, Bits::kNone);
}

// What evaluates in fine-tuning: every rank's copy of the whole model, from there and to there.
TEST(GridRanks, HaveACopyOfTheWholeModel) {
  for (const int64_t experts : {5, 2}) {
    ModelConfig config = test::base_config();
    config.moe.num_experts = experts;
    LanguageModel expected(config, Precision::kFp32);
    initialize(expected.params(), 3);
    OnTheGrid grid;
    LanguageModel shared(config, Precision::kFp32, {.ranks = &world()});
    initialize(shared.params(), 3);
    grid.close();
    const auto whole = shared.whole();
    EXPECT_TRUE(same_bits(on_host(std::as_const(*whole).params().all()), std::as_const(expected).params().all()));
  }
}

// A run with its validation and checkpoints: begun there, gone on with on processors, ended there by one process.
TEST(GridRanks, RunsGoOnElsewhere) {
  test::SharedFolder folder;
  RunConfig config = test::small_run(folder.path() / std::to_string(world().rank()), test::Kind::kMoe);
  config.model.dropout = config.model.attention_dropout = 0.0;
  std::vector<double> losses;
  const auto train = [&](const char* run, Communicator* ranks, int64_t updates, bool resume) {
    PretrainOptions options;
    options.run = folder.path() / run, options.resume = resume, options.ranks = ranks;
    options.step = [&](const StepStats& stats, int64_t, double) {
      losses.push_back(stats.loss.total / static_cast<double>(stats.loss.tokens));
    };
    options.interrupted = [&] { return --updates <= 0; };
    pretrain(config, "test", options);
  };
  {
    OnTheGrid grid;
    grid.close();
    train("run", &world(), 5, false);
  }
  train("run", &world(), 4, true);
  if (world().rank() == 0) {
    OnTheGrid grid;
    train("run", nullptr, 100, true);
  }
  const std::vector<double> parts = std::exchange(losses, {});
  train("whole", &world(), 100, false);
  ASSERT_EQ(parts.size(), losses.size());
  EXPECT_EQ(losses.size(), world().rank() == 0 ? 12u : 0u);
  for (size_t i = 0; i < losses.size(); ++i) EXPECT_NEAR(parts[i], losses[i], 2e-5 * losses[i]) << i;
}

}  // namespace
}  // namespace troupe
