// What is trained: a selection of the parameters has gradients and moments, the rest stays as it is.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <map>

#include "error_of.h"
#include "train/trainer.h"

namespace troupe {
namespace {

ModelConfig sparse() {
  ModelConfig config{.num_layers = 2, .d_model = 32, .num_heads = 2, .d_ff = 64, .vocab_size = 60, .context = 16};
  config.positions = Positions::kLearned;
  config.dropout = 0.1;
  config.moe.num_experts = 4, config.moe.expert_d_ff = 40;
  return config;
}

Batch batch_at(int64_t step, int64_t micro) {
  Batch batch{.B = 3, .S = 16, .first_sequence = 3 * micro};
  for (int64_t i = 0; i < batch.tokens(); ++i) {
    batch.src.push_back(static_cast<int32_t>((7 * i + step) % 60));
    batch.tgt.push_back(static_cast<int32_t>((11 * i + micro) % 60));
  }
  return batch;
}

Trainer trainer_of(LanguageModel& model, const Selection& trained) {
  initialize(model.params(), 3);
  return Trainer(model, Schedule({.kind = ScheduleKind::kConstant, .lr = 1e-2}, 100),
                 {.micro_batches = 2, .adam = {.weight_decay = 0.1}, .trained = trained}, batch_at);
}

struct Case {
  const char* name;
  bool (*trained)(const Parameter&);
};

const Case kCases[] = {
    {"Experts", [](const Parameter& p) { return p.role == Role::kExpert; }},
    {"SomeExperts", [](const Parameter& p) { return p.expert == 0 || p.expert == 2 || p.expert == 3; }},
    {"AllButExperts", [](const Parameter& p) { return p.role != Role::kExpert; }},
    {"Norms", [](const Parameter& p) { return p.name.find("norm") != p.name.npos; }},
    {"AllButNormsAndEmbeddings", [](const Parameter& p) { return p.layer >= 0 && p.name.find("norm") == p.name.npos; }},
    {"Positions", [](const Parameter& p) { return p.name == "embed_positions.weight"; }},
    {"Tokens", [](const Parameter& p) { return p.name == "embed_tokens.weight"; }},
    {"MatricesWithoutBiases", [](const Parameter& p) { return p.layer >= 0 && p.shape.size() == 2; }},
    {"Router", [](const Parameter& p) { return p.name.ends_with("router.weight"); }},
    {"Nothing", [](const Parameter&) { return false; }},
};

class Trained : public testing::TestWithParam<std::tuple<Case, Precision>> {};

TEST_P(Trained, GradientsAreThoseOfAWholeRunAndTheRestDoesNotMove) {
  const auto& [given, precision] = GetParam();
  LanguageModel all(sparse(), precision), some(sparse(), precision), start(sparse(), precision);
  Trainer whole = trainer_of(all, {}), part = trainer_of(some, given.trained);
  initialize(start.params(), 3);
  whole.step();
  part.step();
  int64_t held = 0;
  for (const Parameter& parameter : all.table().entries()) {
    SCOPED_TRACE(parameter.name);
    const auto before = std::as_const(start).params().at(parameter.slot);
    const auto after = std::as_const(some).params().at(parameter.slot);
    const auto gradient = part.gradients().at(parameter.slot);
    if (given.trained(parameter)) {
      held += parameter.size();
      EXPECT_TRUE(std::ranges::equal(gradient, whole.gradients().at(parameter.slot)));
      EXPECT_TRUE(std::ranges::equal(after, std::as_const(all).params().at(parameter.slot)));
    } else {
      EXPECT_TRUE(gradient.empty());
      EXPECT_TRUE(part.optimizer().first_moment().at(parameter.slot).empty());
      EXPECT_TRUE(std::ranges::equal(after, before));
    }
  }
  EXPECT_LE(static_cast<int64_t>(part.gradients().all().size()), held + 16 * all.table().num_entries());
}

INSTANTIATE_TEST_SUITE_P(Selections, Trained,
                         testing::Combine(testing::ValuesIn(kCases),
                                          testing::Values(Precision::kFp32, Precision::kBf16)),
                         [](const auto& info) {
                           return std::string(std::get<0>(info.param).name) +
                                  (std::get<1>(info.param) == Precision::kFp32 ? "Fp32" : "Bf16");
                         });

// A part of a map's gradient has no place to go: refused, not dropped.
TEST(TrainedSelection, OfAPartOfAMapIsRefused) {
  const std::pair<const char*, bool (*)(const Parameter&)> cases[] = {
      {"layers.1.attn.out_proj.weight",
       [](const Parameter& p) { return p.name.find("attn.") != p.name.npos && p.name.ends_with(".bias"); }},
      {"layers.1.attn.q_proj.weight", [](const Parameter& p) { return p.name.find("k_proj") != p.name.npos; }},
      {"layers.1.moe.experts.{}.fc2.weight",
       [](const Parameter& p) { return p.expert == 1 && p.name.ends_with(".bias"); }},
  };
  for (const auto& [name, trained] : cases) {
    LanguageModel model(sparse(), Precision::kFp32);
    Trainer trainer = trainer_of(model, trained);
    EXPECT_THAT(test::error_of([&] { trainer.step(); }, ErrorCode::kUsage),
                testing::HasSubstr(std::string(name) + ": expected all of this map's weight or none of it"))
        << name;
  }
}

// Some of a layer's experts: stores of another layout than the parameters'.
TEST(Adam, UpdatesSomeExpertsAsItUpdatesAll) {
  ParameterTable table;
  table.add({.name = "a", .shape = {5}});
  table.add_experts({.name = "e.{}", .shape = {7}}, 9);
  table.add({.name = "b", .shape = {3}, .decays = false});
  const auto chosen = [](const Parameter& p) {
    return p.expert == 2 || p.expert == 3 || p.expert == 7 || p.name == "b";
  };
  const AdamConfig config{.weight_decay = 0.5};
  ParameterStore<float> p_all(table), p_some(table), g_all(table), g_some(table, chosen);
  for (size_t i = 0; i < p_all.all().size(); ++i) p_all.all()[i] = p_some.all()[i] = 1.0f + static_cast<float>(i);
  for (const Parameter& parameter : table.entries())
    for (size_t i = 0; i < g_all.at(parameter.slot).size(); ++i) {
      const auto value = std::sin(static_cast<float>(10 * parameter.slot.begin + static_cast<int64_t>(i)));
      g_all.at(parameter.slot)[i] = value;
      if (chosen(parameter)) g_some.at(parameter.slot)[i] = value;
    }
  const std::vector<float> before(p_some.all().begin(), p_some.all().end());
  Optimizer all(table, {.adam = config}), some(table, {.adam = config}, chosen);
  for (int update = 0; update < 2; ++update) {
    all.update(p_all, g_all, 0.1, 1.0);
    some.update(p_some, g_some, 0.1, 1.0);
  }
  ParameterStore<float> start(table);
  std::copy(before.begin(), before.end(), start.all().begin());
  for (const Parameter& parameter : table.entries())
    EXPECT_TRUE(std::ranges::equal(p_some.at(parameter.slot), (chosen(parameter) ? p_all : start).at(parameter.slot)))
        << parameter.name;
}

// One of each group, with the same values and gradients: rates and decay alone tell them apart.
TEST(Adam, GroupsHaveRatesOfTheirOwnAndMatricesAloneMayDecay) {
  ParameterTable table;
  table.add({.name = "tokens", .shape = {2, 4}});
  table.add({.name = "head", .shape = {2, 4}, .product = true});
  table.add({.name = "matrix", .shape = {2, 4}, .layer = 0, .product = true});
  table.add_experts({.name = "e.{}", .shape = {2, 4}, .layer = 0, .product = true}, 2);
  table.add({.name = "router", .shape = {2, 4}, .layer = 0});
  table.add({.name = "bias", .shape = {8}, .layer = 0});
  const auto updated = [&](const GroupRates& peaks, const AdamConfig& config) {
    ParameterStore<float> params(table), grads(table);
    for (float& value : params.all()) value = 2.0f;
    for (float& value : grads.all()) value = 0.5f;
    Optimizer(table, {.adam = config}).update(params, grads, rates_at(peaks, 0.1, 0.2), 1.0);
    std::map<std::string, float> values;
    for (const Parameter& parameter : table.entries()) values[parameter.name] = params.at(parameter.slot)[0];
    return values;
  };
  const auto all_at = [&](double lr, const AdamConfig& config) { return updated({lr, lr, lr, lr}, config); };
  const AdamConfig plain;
  EXPECT_EQ(updated({}, plain), all_at(0.2, plain));
  const auto own = updated({.embedding = 0.4, .head = 0.8, .matrices = 1.6, .rest = 3.2}, plain);
  EXPECT_EQ(own.at("tokens"), all_at(0.4, plain).at("tokens"));
  EXPECT_EQ(own.at("head"), all_at(0.8, plain).at("head"));
  for (const char* name : {"matrix", "e.0", "e.1"}) EXPECT_EQ(own.at(name), all_at(1.6, plain).at("matrix")) << name;
  for (const char* name : {"router", "bias"}) EXPECT_EQ(own.at(name), all_at(3.2, plain).at("bias")) << name;
  EXPECT_NE(own.at("tokens"), own.at("head"));

  const auto decayed = updated({}, {.weight_decay = 0.5, .weight_decay_of = WeightDecayOf::kMatrices});
  for (const auto& [name, value] : decayed) {
    const bool matrix = name == "matrix" || name.starts_with("e.");
    EXPECT_EQ(value, all_at(0.2, {.weight_decay = matrix ? 0.5 : 0.0}).at(name)) << name;
  }
  EXPECT_LT(decayed.at("matrix"), decayed.at("bias"));
}

// Each matrix by itself: the q of a q, k, v that lie back to back, an expert without its neighbours, one behind a gap.
TEST(Muon, MovesEachMatrixByItselfAndAdamTheRest) {
  ParameterTable table;
  const auto matrix = [](const char* name, const Shape& shape) {
    return Parameter{.name = name, .shape = shape, .layer = 0, .product = true};
  };
  table.add({matrix("q", {5, 7}), matrix("k", {5, 7}), matrix("v", {5, 7})});
  table.add(matrix("o", {5, 7}));  // 105 values are no whole cache lines
  table.add({.name = "bias", .shape = {5}, .layer = 0});
  table.add_experts(matrix("e.{}", {9, 4}), 6);
  Parameter gated = matrix("gate and up", {10, 7});
  gated.stacked = 2;
  table.add(gated);
  table.add({.name = "router", .shape = {6, 4}, .layer = 0});
  table.add({.name = "tokens", .shape = {8, 4}});
  const Selection chosen = [](const Parameter& p) { return p.name != "k" && p.expert != 2 && p.name != "bias"; };
  OptimizerOptions options{.adam = {.weight_decay = 0.3}, .muon = {.weight_decay = 0.2}};
  const auto updated = [&](ParameterStore<float>& params, const Selection& trained) {
    ParameterStore<float> grads(table, trained);
    for (const Parameter& parameter : table.entries())
      for (int64_t i = 0; i < parameter.size(); ++i) {
        const auto at = static_cast<size_t>(i);
        params.at(parameter.slot)[at] = 0.1f * std::cos(static_cast<float>(parameter.slot.begin + 3 * i));
        if (!grads.at(parameter.slot).empty())
          grads.at(parameter.slot)[at] = std::sin(static_cast<float>(10 * parameter.slot.begin + i * i));
      }
    Optimizer optimizer(table, options, trained);
    for (int update = 0; update < 2; ++update) optimizer.update(params, grads, 0.1, 0.5);
  };
  ParameterStore<float> by_adam(table), all(table), some(table), start(table);
  updated(by_adam, {});
  options.optimizer.matrices = MatrixOptimizer::kMuon;
  updated(all, {}), updated(some, chosen), updated(start, [](const Parameter&) { return false; });
  for (const Parameter& parameter : table.entries()) {
    SCOPED_TRACE(parameter.name);
    const auto got = all.at(parameter.slot);
    EXPECT_TRUE(std::ranges::equal(some.at(parameter.slot), (chosen(parameter) ? all : start).at(parameter.slot)));
    if (group_of(parameter) != ParameterGroup::kMatrices) {
      EXPECT_TRUE(std::ranges::equal(got, by_adam.at(parameter.slot)));
      continue;
    }
    std::vector<double> p(start.at(parameter.slot).begin(), start.at(parameter.slot).end()), g(p.size()), m(p.size());
    for (size_t i = 0; i < g.size(); ++i)
      g[i] = std::sin(static_cast<float>(10 * parameter.slot.begin + static_cast<int64_t>(i * i)));
    for (int update = 0; update < 2; ++update)
      run(MuonUpdate<F64>{.count = parameter.stacked,
                          .rows = parameter.shape[0] / parameter.stacked,
                          .cols = parameter.shape[1],
                          .p = p,
                          .g = g,
                          .m = m,
                          .step = {.lr = 0.1, .weight_decay = 0.2},
                          .grad_scale = 0.5});
    for (size_t i = 0; i < p.size(); ++i) EXPECT_NEAR(got[i], p[i], 1e-5);
  }
}

// decays = false: the same update as without weight decay.
TEST(Adam, DecaysWhatSaysSo) {
  const auto updated = [](bool decays, double weight_decay) {
    ParameterTable table;
    table.add({.name = "a", .shape = {4}, .decays = decays});
    ParameterStore<float> params(table), grads(table);
    for (float& value : params.all()) value = 2.0f;
    for (float& value : grads.all()) value = 0.5f;
    Optimizer optimizer(table, {.adam = {.weight_decay = weight_decay}});
    optimizer.update(params, grads, 0.1, 1.0);
    return params.at("a")[0];
  };
  EXPECT_EQ(updated(false, 0.5), updated(true, 0.0));
  EXPECT_LT(updated(true, 0.5), updated(true, 0.0));
}

}  // namespace
}  // namespace troupe
