// One model trained by several ranks is the model that one process trains: from the same parameters and batches, expert
// outputs and gradients to the bit, everything else to the rounding of sums in another order. Every rank trains the model
// alone as well and compares.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <optional>

#include "dist/communicator.h"
#include "ranked_training.h"
#include "ranks.h"

namespace troupe {
namespace {

using test::difference;
using test::same_bits;
using test::world;
using Case = test::RankCase;
using Training = test::RankedTraining;

uint64_t hash_of(const LanguageModel& model, bool experts) {
  uint64_t hash = 14695981039346656037u;
  for (const Parameter& parameter : model.params().entries())
    if ((parameter.role == Role::kExpert) == experts)
      for (const float value : model.params().at(parameter.slot)) {
        uint32_t bits;
        std::memcpy(&bits, &value, 4);
        hash = (hash ^ bits) * 1099511628211u;
      }
  return hash;
}

bool has_copies(const LanguageModel& model) { return model.config().moe.num_experts < world().size(); }

// Dense parameters of all ranks, experts of those that hold copies.
void expect_replicas_agree(const LanguageModel& model) {
  const uint64_t dense = hash_of(model, false), experts = hash_of(model, true);
  for (const uint64_t other : world().all_of(dense, "test")) ASSERT_EQ(other, dense);
  const int64_t E = model.config().moe.num_experts;
  const std::vector<uint64_t> of_all = world().all_of(experts, "test");
  if (E == 0 || !has_copies(model)) return;
  const Share holders = holders_of(E, experts_of(E, world().rank(), world().size()).begin, world().size());
  for (int64_t r = holders.begin; r < holders.end; ++r) ASSERT_EQ(of_all[static_cast<size_t>(r)], experts);
}

// Of the first update: what was routed, expert gradients to the bit, dense ones to rounding, every element once.
void expect_first_update(const Training& ranked, const StepStats& actual, const Training& alone, const StepStats& expected) {
  EXPECT_EQ(actual.loss.choices, expected.loss.choices);
  EXPECT_EQ(actual.loss.dropped, expected.loss.dropped);
  ASSERT_EQ(actual.routers.size(), expected.routers.size());
  for (size_t layer = 0; layer < actual.routers.size(); ++layer) {
    EXPECT_EQ(actual.routers[layer].load_E, expected.routers[layer].load_E);
    EXPECT_EQ(actual.routers[layer].dropped_K, expected.routers[layer].dropped_K);
    EXPECT_EQ(actual.routers[layer].tokens, expected.routers[layer].tokens);
    EXPECT_NEAR(actual.routers[layer].entropy(), expected.routers[layer].entropy(), 1e-12);
  }
  int64_t elements = 0;
  for (const Parameter& parameter : ranked.trainer.gradients().entries()) {
    const auto mine = ranked.trainer.gradients().at(parameter.slot), whole = alone.trainer.gradients().at(parameter.slot);
    if (!ranked.trainer.shares()->is_own(parameter)) {
      EXPECT_TRUE(std::all_of(mine.begin(), mine.end(), [](float g) { return g == 0.0f; })) << parameter.name;
      continue;
    }
    elements += parameter.size();
    if (parameter.role == Role::kExpert && !has_copies(ranked.model)) {
      EXPECT_TRUE(same_bits(mine, whole)) << parameter.name << ": " << difference(mine, whole);
    } else if (!parameter.name.ends_with("k_proj.bias")) {  // whose true gradient is zero
      EXPECT_LE(difference(mine, whole), 1e-6) << parameter.name;
    }
  }
  // The norm is over every element once.
  int64_t all[] = {elements};
  world().sum(std::span(all), "test");
  int64_t trained = 0;
  for (const Parameter& parameter : alone.trainer.gradients().entries()) trained += parameter.size();
  EXPECT_EQ(all[0], trained);
}

class Step : public testing::TestWithParam<Case> {};

TEST_P(Step, IsThatOfOneProcess) {
  const Case& c = GetParam();
  Training alone(c, nullptr), ranked(c, &world());
  const double tolerance = c.precision == Precision::kBf16 ? 2e-2 : 1e-6;  // of later updates
  for (int step = 0; step < c.updates; ++step) {
    SCOPED_TRACE(step);
    alone.poison(), ranked.poison();
    const StepStats expected = alone.trainer.step(), actual = ranked.trainer.step();
    ASSERT_EQ(actual.loss.tokens, expected.loss.tokens);
    // The same bits on every rank.
    for (const double other : world().all_of(actual.grad_norm, "test")) ASSERT_EQ(other, actual.grad_norm);
    for (const double other : world().all_of(actual.loss.total, "test")) ASSERT_EQ(other, actual.loss.total);
    const double near = step == 0 ? 1e-6 : tolerance;
    EXPECT_NEAR(actual.loss.nll, expected.loss.nll, near * expected.loss.nll);
    EXPECT_NEAR(actual.loss.total, expected.loss.total, near * expected.loss.total);
    EXPECT_NEAR(actual.loss.aux, expected.loss.aux, near * expected.loss.aux);
    EXPECT_NEAR(actual.loss.z, expected.loss.z, near * expected.loss.z);
    EXPECT_NEAR(actual.grad_norm, expected.grad_norm, near * expected.grad_norm);
    if (step == 0) expect_first_update(ranked, actual, alone, expected);
    expect_replicas_agree(ranked.model);
  }
  for (const Parameter& parameter : ranked.model.params().entries()) {
    const auto mine = ranked.model.params().at(parameter.slot), whole = alone.model.params().at(parameter.slot);
    EXPECT_LE(difference(mine, whole), c.precision == Precision::kBf16 ? 0.2 : 2e-2) << parameter.name;
  }
}

TEST(Step, ScalesExpertsByTheRootOfTheRanksOnlyIfAsked) {
  const Case c{"sqrt", [](ModelConfig& m, DecoderOptions&, TrainerOptions& t) {
                 m.moe.num_experts = 3, t.expert_gradients = ExpertGradients::kSqrtWorldSize;
               }};
  Training alone(c, nullptr), ranked(c, &world());  // one process has nothing to scale
  alone.trainer.step(), ranked.trainer.step();
  const auto factor = static_cast<float>(std::sqrt(std::min(world().size(), 3)));
  for (const Parameter& parameter : ranked.trainer.gradients().entries()) {
    if (parameter.role != Role::kExpert) continue;
    std::vector<float> expected;
    for (const float gradient : std::as_const(alone.trainer).gradients().at(parameter.slot)) expected.push_back(gradient * factor);
    const auto mine = ranked.trainer.gradients().at(parameter.slot);
    if (!has_copies(ranked.model)) {
      EXPECT_TRUE(same_bits(mine, expected)) << parameter.name;
    } else if (ranked.trainer.shares()->is_own(parameter)) {
      EXPECT_LE(difference(mine, expected), 1e-6) << parameter.name;
    }
  }
}

// One update of the model alone and on ranks, the first one or another; its loss.
LossSum expect_equal_update(Training& ranked, Training& alone, bool is_first = true) {
  alone.poison(), ranked.poison();
  const StepStats expected = alone.trainer.step(), actual = ranked.trainer.step();
  EXPECT_NEAR(actual.loss.total, expected.loss.total, 1e-6 * expected.loss.total);
  EXPECT_NEAR(actual.loss.divergence, expected.loss.divergence, 1e-6 * expected.loss.divergence);
  EXPECT_NEAR(actual.grad_norm, expected.grad_norm, 1e-6 * expected.grad_norm);
  if (is_first) expect_first_update(ranked, actual, alone, expected);
  expect_replicas_agree(ranked.model);
  return actual.loss;
}

// Experts are chosen by their biases alone: those of rank `empty` get no row from anybody, or all rows go to one expert.
TEST(Step, ARankWhoseExpertsGetNoRows) {
  const Case c{"empty", [](ModelConfig& m, DecoderOptions&, TrainerOptions&) {
                 m.moe.score = RouterScore::kSigmoid, m.moe.balance_bias = true;
               }};
  for (int empty = 0; empty < world().size(); ++empty) {
    SCOPED_TRACE(empty);
    Training alone(c, nullptr), ranked(c, &world());
    const Share experts = share_of(alone.config.moe.num_experts, empty, world().size());
    for (Training* training : {&alone, &ranked})
      for (const Parameter& parameter : training->model.params().entries())
        if (parameter.role == Role::kState)
          for (int64_t e = experts.begin; e < experts.end; ++e)
            training->model.params().at(parameter.slot)[static_cast<size_t>(e)] = -100.0f;
    if (world().size() == 1) continue;  // which has all
    expect_equal_update(ranked, alone);
    for (const RouterStats& layer : ranked.model.router_stats())
      for (int64_t e = experts.begin; e < experts.end; ++e) EXPECT_EQ(layer.load_E[static_cast<size_t>(e)], 0);
  }
}

// The optimizer moves experts without rows, too: they decay, and so do their moments.
TEST(Step, MovesExpertsThatGetNoRows) {
  const Case c{"idle", [](ModelConfig& m, DecoderOptions&, TrainerOptions& t) {
                 m.moe.score = RouterScore::kSigmoid, m.moe.balance_bias = true;
                 t.clip_norm = 0.0, t.adam.weight_decay = 0.1;
               }};
  constexpr int64_t kIdle = 2;
  Training alone(c, nullptr), ranked(c, &world());
  expect_equal_update(ranked, alone);
  for (Training* training : {&alone, &ranked})
    for (const Parameter& parameter : training->model.params().entries())
      if (parameter.role == Role::kState) training->model.params().at(parameter.slot)[kIdle] = -100.0f;
  std::vector<std::vector<float>> before, weights;
  const auto each_idle = [&](const auto& visit) {
    for (const Parameter& parameter : ranked.model.params().entries())
      if (parameter.role == Role::kExpert && parameter.expert == kIdle) visit(parameter);
  };
  const auto moments = [&](const Parameter& parameter) {
    std::vector<float> m;
    ranked.trainer.optimizer().each_moment([&](std::string_view which, const auto& store) {
      if constexpr (std::is_same_v<std::decay_t<decltype(store)>, ParameterStore<float>>)
        if (which == "m.") m.assign(store.at(parameter.slot).begin(), store.at(parameter.slot).end());
    });
    return m;
  };
  each_idle([&](const Parameter& parameter) {
    before.push_back(moments(parameter));
    const auto values = ranked.model.params().at(parameter.slot);
    weights.emplace_back(values.begin(), values.end());
  });
  expect_equal_update(ranked, alone, false);
  auto was = before.begin();
  auto weight = weights.begin();
  each_idle([&](const Parameter& parameter) {
    EXPECT_LE(difference(ranked.model.params().at(parameter.slot), alone.model.params().at(parameter.slot)), 1e-6)
        << parameter.name;
    EXPECT_TRUE(weight->empty() || difference(*weight, ranked.model.params().at(parameter.slot)) > 1e-6) << parameter.name;
    ++weight;
    const std::vector<float> is = moments(parameter);
    if (!is.empty()) {
      EXPECT_NE(is, *was) << parameter.name;
    }
    const auto beta1 = static_cast<float>(alone.options.adam.beta1);
    for (size_t i = 0; i < is.size(); ++i) EXPECT_FLOAT_EQ(is[i], beta1 * (*was)[i]) << parameter.name;
    ++was;
  });
  EXPECT_TRUE(world().any(!before.empty() && !before.front().empty(), "test"));
}

// No weight of a loss of the router goes lost on the way to its gradient.
TEST(Step, TheRoutersGradientIsThatOfItsLosses) {
  const auto gradient_of = [](const Case& c) {
    Training ranked(c, &world());
    ranked.trainer.step();
    std::vector<float> all;
    for (const Parameter& parameter : ranked.trainer.gradients().entries())
      if (parameter.name.ends_with("moe.router.weight")) {
        const auto values = ranked.trainer.gradients().at(parameter.slot);
        all.insert(all.end(), values.begin(), values.end());
      }
    return all;
  };
  const Case none{"none", [](ModelConfig& m, DecoderOptions&, TrainerOptions&) { m.moe.aux_loss_weight = 0.0; }};
  const Case balance{"balance", [](ModelConfig& m, DecoderOptions&, TrainerOptions&) { m.moe.aux_loss_weight = 1.0; }};
  const Case z{"z", [](ModelConfig& m, DecoderOptions&, TrainerOptions&) { m.moe.aux_loss_weight = 0.0, m.moe.router_z_loss = 0.1; }};
  const std::vector<float> without = gradient_of(none);
  ASSERT_FALSE(without.empty());
  for (const Case& with : {balance, z})
    EXPECT_TRUE(world().any(gradient_of(with) != without, "test")) << with.name;
}

TEST(Step, RecomputationChangesNoBit) {
  const Case kept{"kept", [](ModelConfig& m, DecoderOptions&, TrainerOptions&) {
                    m.moe.capacity = Capacity::kFairseq, m.moe.second_choice = SecondChoice::kSampling;
                  }};
  const Case again{"again", [](ModelConfig& m, DecoderOptions& d, TrainerOptions&) {
                     m.moe.capacity = Capacity::kFairseq, m.moe.second_choice = SecondChoice::kSampling;
                     d.recompute = true;
                   }};
  Training first(kept, &world()), second(again, &world());
  for (int step = 0; step < 3; ++step) {
    const StepStats is = second.trainer.step(), was = first.trainer.step();
    EXPECT_EQ(is.loss.total, was.loss.total);
    EXPECT_EQ(is.grad_norm, was.grad_norm);
    ASSERT_EQ(is.routers.size(), was.routers.size());
    for (size_t layer = 0; layer < was.routers.size(); ++layer) {
      EXPECT_EQ(is.routers[layer].load_E, was.routers[layer].load_E);
      EXPECT_EQ(is.routers[layer].dropped_K, was.routers[layer].dropped_K);
    }
    EXPECT_TRUE(same_bits(first.model.params().all(), second.model.params().all()));
  }
}

TEST(Step, ARankWithPaddingAloneOrNothingToPredict) {
  for (const bool pad_mask : {false, true})
    for (const bool padding : {false, true})
      for (int idle = 0; idle < world().size(); ++idle) {
        SCOPED_TRACE(fmt::format("rank {}, padding {}, mask {}", idle, padding, pad_mask));
        const Case plain{"plain", [](ModelConfig&, DecoderOptions&, TrainerOptions&) {}};
        const Case masked{"masked", [](ModelConfig& m, DecoderOptions&, TrainerOptions&) { m.moe.pad_mask = true; }};
        const Case& c = pad_mask ? masked : plain;
        Training alone(c, nullptr), ranked(c, &world());
        if (world().size() == 1) continue;  // nothing to predict at all
        alone.edit = ranked.edit = [&](Batch& batch) {
          const Share own = share_of(batch.B, idle, world().size());
          for (int64_t t = own.begin * batch.S; t < own.end * batch.S; ++t) {
            batch.tgt[static_cast<size_t>(t)] = -1;
            if (padding) batch.src[static_cast<size_t>(t)] = static_cast<int32_t>(alone.config.pad_id);
          }
        };
        expect_equal_update(ranked, alone);
      }
}

// Fine-tuning packs texts into rows, of which there may be fewer than ranks.
TEST(Step, FewerSequencesThanRanks) {
  for (const int64_t group : {int64_t{0}, int64_t{1}, int64_t{2}})
    for (const int64_t sequences : {1, 2, 3}) {
      SCOPED_TRACE(fmt::format("{} sequences, groups of {}", sequences, group));
      const Case plain{"plain", [](ModelConfig& m, DecoderOptions&, TrainerOptions&) { m.moe.shared_d_ff = 24; }};
      const Case grouped{"grouped", [](ModelConfig& m, DecoderOptions&, TrainerOptions&) {
                           m.moe.group_sequences = 1, m.moe.capacity = Capacity::kFairseq;
                         }};
      const Case by_two{"by two", [](ModelConfig& m, DecoderOptions& d, TrainerOptions&) {
                          m.moe.group_sequences = 2, d.recompute = true;
                        }};
      const Case& c = group == 0 ? plain : group == 1 ? grouped : by_two;
      Training alone(c, nullptr), ranked(c, &world());
      alone.edit = ranked.edit = [&](Batch& batch) {
        batch.B = sequences;
        batch.src.resize(static_cast<size_t>(batch.tokens())), batch.tgt.resize(static_cast<size_t>(batch.tokens()));
      };
      expect_equal_update(ranked, alone);
    }
}

// Of attention, router and experts; with a dropout of what it may be of.
void adapt(ModelConfig& model, TrainerOptions& options, double dropout) {
  model.ffn_gated = true;
  const auto adapted = [dropout](const Parameter& p) {
    const bool of_tokens = p.role != Role::kExpert && !p.name.ends_with("router.weight");
    return p.shape.size() == 2 && p.layer >= 0 && p.name.ends_with(".weight") && (dropout == 0.0 || of_tokens);
  };
  options.lora = LoraOptions{.adapted = adapted, .rank = 3, .scale = 2.0, .dropout = dropout};
}

// The second update is the first that moves A.
TEST(Step, TrainsAdapters) {
  const Case cases[] = {{"lora", [](ModelConfig& m, DecoderOptions&, TrainerOptions& t) { adapt(m, t, 0.0); }},
                        {"dropped", [](ModelConfig& m, DecoderOptions&, TrainerOptions& t) { adapt(m, t, 0.3); }}};
  for (const Case& c : cases) {
    SCOPED_TRACE(c.name);
    Training alone(c, nullptr), ranked(c, &world());
    for (int step = 0; step < 4; ++step) {
      SCOPED_TRACE(step);
      expect_equal_update(ranked, alone, step == 0);
    }
    for (const Parameter& parameter : ranked.model.params().entries())
      EXPECT_LE(difference(ranked.model.params().at(parameter.slot), alone.model.params().at(parameter.slot)), 1e-4)
          << parameter.name;
  }
}

TEST(Step, LearnsFromATeacher) {
  const Case c{"student", [](ModelConfig&, DecoderOptions&, TrainerOptions&) {}};
  for (const int64_t sequences : {2, 6}) {
    SCOPED_TRACE(sequences);
    Training alone(c, nullptr), ranked(c, &world()), other(c, nullptr);
    initialize(other.model.params(), 4);
    alone.edit = ranked.edit = [&](Batch& batch) {
      batch.B = sequences;
      batch.src.resize(static_cast<size_t>(batch.tokens())), batch.tgt.resize(static_cast<size_t>(batch.tokens()));
    };
    for (Training* training : {&alone, &ranked}) training->model.learn_from(other.model, {0.7, 2.0});
    const double divergence = expect_equal_update(ranked, alone).divergence;
    EXPECT_GT(divergence, 0.0);
  }
}

// While it lives, everything is worth a message: rows of every expert and dense gradients of every layer, whose larger
// tensors are cut.
class SmallMessages {
 public:
  SmallMessages() { world().set_message_sizes({.chunk_bytes = 1, .bucket_elements = 1000}); }
  ~SmallMessages() { world().set_message_sizes(before_); }

 private:
  const MessageSizes before_ = world().message_sizes();
};

TEST_P(Step, HasTheSameBitsOnEveryRunAndInMessagesOfAnySize) {
  const Case& c = GetParam();
  std::optional<SmallMessages> small(std::in_place);
  Training first(c, &world());
  small.reset();
  Training second(c, &world());
  for (int step = 0; step < 2; ++step) {
    first.poison();
    small.emplace();
    const double norm = first.trainer.step().grad_norm;
    small.reset();
    EXPECT_EQ(norm, second.trainer.step().grad_norm);
    EXPECT_TRUE(same_bits(first.model.params().all(), second.model.params().all()));
  }
}

INSTANTIATE_TEST_SUITE_P(
    Ranks, Step,
    testing::Values(
        Case{"dense", [](ModelConfig& m, DecoderOptions&, TrainerOptions&) { m.moe.num_experts = 0; }, Precision::kFp32,
             10},
        Case{"dropless", [](ModelConfig&, DecoderOptions&, TrainerOptions&) {}, Precision::kFp32, 10},
        Case{"bf16", [](ModelConfig&, DecoderOptions&, TrainerOptions&) {}, Precision::kBf16},
        Case{"capacity", [](ModelConfig& m, DecoderOptions&, TrainerOptions&) { m.moe.capacity = Capacity::kFairseq; },
             Precision::kFp32, 10},
        Case{"groups",
             [](ModelConfig& m, DecoderOptions&, TrainerOptions&) {
               m.moe.capacity = Capacity::kFairseq, m.moe.group_sequences = 1, m.moe.aux_combine = AuxCombine::kAverage;
             }},
        Case{"prioritized",
             [](ModelConfig& m, DecoderOptions&, TrainerOptions&) {
               m.moe.capacity = Capacity::kFairseq, m.moe.batch_prioritized = true;
               m.moe.second_choice = SecondChoice::kSampling;
             }},
        Case{"random_second",
             [](ModelConfig& m, DecoderOptions&, TrainerOptions&) {
               m.moe.second_choice = SecondChoice::kRandom, m.moe.pad_mask = true;
             }},
        Case{"top1_losses",
             [](ModelConfig& m, DecoderOptions&, TrainerOptions& t) {
               m.moe.top_k = 1, m.moe.router_z_loss = 0.01, t.z_loss = 1e-3, m.moe.num_experts = 3;
             }},
        Case{"sigmoid_biases", test::sigmoid_biases},
        Case{"hash", test::hash_router},
        Case{"expert_choice", test::expert_choice, Precision::kFp32, 10},
        Case{"one_expert",
             [](ModelConfig& m, DecoderOptions&, TrainerOptions&) { m.moe.num_experts = 1, m.moe.top_k = 1; }},
        Case{"copies",
             [](ModelConfig& m, DecoderOptions&, TrainerOptions&) {
               m.moe.num_experts = 2, m.moe.capacity = Capacity::kFairseq, m.ffn_gated = true;
             },
             Precision::kFp32, 10},
        Case{"copies_muon",
             [](ModelConfig& m, DecoderOptions&, TrainerOptions& t) {
               m.moe.num_experts = 3, t.optimizer.matrices = MatrixOptimizer::kMuon;
             }},
        Case{"recompute", [](ModelConfig&, DecoderOptions& d, TrainerOptions&) { d.recompute = true; }},
        Case{"shared_expert", [](ModelConfig& m, DecoderOptions&,
                                 TrainerOptions&) { m.moe.shared_d_ff = 24, m.moe.shared_gate = true; }},
        Case{"gated_rotary",
             [](ModelConfig& m, DecoderOptions&, TrainerOptions&) {
               m.ffn_gated = true, m.positions = Positions::kRotary, m.norm = Norm::kRms;
             }},
        Case{"frozen_dense",
             [](ModelConfig&, DecoderOptions&, TrainerOptions& t) {
               t.trained = [](const Parameter& p) { return p.role == Role::kExpert; };
             }},
        Case{"frozen_experts",
             [](ModelConfig&, DecoderOptions&, TrainerOptions& t) {
               t.trained = [](const Parameter& p) { return p.role != Role::kExpert; };
             }},
        Case{"muon",
             [](ModelConfig&, DecoderOptions&, TrainerOptions& t) { t.optimizer.matrices = MatrixOptimizer::kMuon; }}),
    [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace troupe
