// Consecutive updates of fairseq's trainer from its checkpoints: rates, losses, gradient norms, drops and the weights
// that come out.
#include <fmt/core.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <numbers>

#include "golden.h"
#include "io/json_file.h"
#include "train/trainer.h"

namespace troupe {
namespace {

using test::golden;

// Two warm-up updates to 1e-3, then linearly to 0 at update 8.
Schedule golden_schedule() { return Schedule({.lr = 1e-3, .warmup_steps = 2, .decay_steps = 8}, 5); }

struct Case {
  const char* folder;
  double weight_decay, clip_norm;
};

class Updates : public testing::TestWithParam<Case> {};

TEST_P(Updates, EqualFairseqs) {
  const Case& given = GetParam();
  const std::string folder = std::string("fairseq-small/") + given.folder;
  const SafetensorsFile steps(golden(folder + "/steps.safetensors"));
  const auto model = test::load_golden(given.folder, Precision::kFp32);
  Trainer trainer(*model, golden_schedule(),
                  {.clip_norm = given.clip_norm, .adam = {.weight_decay = given.weight_decay}},
                  [&](int64_t step, int64_t) { return test::batch_of(steps, fmt::format("step{}.", step)); });
  const auto column = [&](const char* name) { return test::values_of<double>(steps, name); };
  const auto lr = column("lr"), grad_norm = column("grad_norm"), total = column("loss_total"), nll = column("nll_sum"),
             tokens = column("ntokens");
  const bool moe = steps.find("aux") != nullptr;
  const auto aux = moe ? column("aux") : std::vector<double>();
  const auto dropped = moe ? test::values_of<int64_t>(steps, "dropped") : std::vector<int64_t>();

  for (size_t i = 0; i < lr.size(); ++i) {
    SCOPED_TRACE(fmt::format("update {}", i));
    const StepStats stats = trainer.step();
    EXPECT_NEAR(stats.lr, lr[i], 1e-15);
    EXPECT_NEAR(stats.loss.nll, nll[i], 2e-6 * nll[i]);
    EXPECT_NEAR(stats.loss.total, total[i], 2e-6 * total[i]);
    EXPECT_EQ(static_cast<double>(stats.loss.tokens), tokens[i]);
    EXPECT_NEAR(stats.grad_norm, grad_norm[i], 2e-6);
    const size_t layers = stats.routers.size();
    ASSERT_EQ(aux.size(), lr.size() * layers);
    for (size_t layer = 0; layer < layers; ++layer) {
      EXPECT_NEAR(stats.routers[layer].aux, aux[i * layers + layer], 3e-6);
      EXPECT_EQ(stats.routers[layer].dropped_K[0], dropped[2 * (i * layers + layer)]);
      EXPECT_EQ(stats.routers[layer].dropped_K[1], dropped[2 * (i * layers + layer) + 1]);
    }
  }
  test::expect_parameters_near(model->params(), SafetensorsFile(golden(folder + "/after5.safetensors")), 1.0, 5e-7,
                               3e-4);
}
INSTANTIATE_TEST_SUITE_P(FairseqSmall, Updates,
                         testing::Values(Case{"dense", 0.01, 0.5}, Case{"dense-learned", 0.0, 0.0},
                                         Case{"moe", 0.0, 0.0}),
                         [](const auto& info) {
                           std::string name = info.param.folder;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

// Two processes with a batch of two each are two accumulated micro-batches, each with its own routing and capacity.
TEST(Updates, OfTwoProcessesEqualTwoMicroBatches) {
  const SafetensorsFile steps(golden("fairseq-small/moe-parallel/steps.safetensors"));
  const nlohmann::json logs = read_json_file(golden("fairseq-small/moe-parallel/config.json")).at("logs");
  const auto model = test::load_golden("moe-parallel", Precision::kFp32);
  const auto part = [&](int64_t step, int64_t process) {
    const std::string prefix = fmt::format("step{}.", step);
    const Shape shape = steps.at(prefix + "src_tokens").shape;  // process, row, column
    const auto cut = [&](const std::string& name) {
      const std::vector<int32_t> all = test::ids_of(steps, prefix + name);
      const int64_t size = shape[1] * shape[2];
      return std::vector<int32_t>(all.begin() + process * size, all.begin() + (process + 1) * size);
    };
    return Batch{.B = shape[1],
                 .S = shape[2],
                 .src = cut("src_tokens"),
                 .tgt = cut("target"),
                 .first_sequence = process * shape[1]};
  };
  Trainer trainer(*model, golden_schedule(), {.micro_batches = 2}, part);
  for (const nlohmann::json& log : logs) {
    const StepStats stats = trainer.step();
    const auto tokens = static_cast<double>(stats.loss.tokens);
    EXPECT_NEAR(stats.lr, log["lr"].get<double>(), 1e-15);
    EXPECT_EQ(stats.loss.tokens, log["sample_size"].get<int64_t>());
    EXPECT_NEAR(stats.loss.total / tokens / std::numbers::ln2, log["loss"].get<double>(),
                6e-4);  // logged with 3 digits
    EXPECT_NEAR(stats.loss.nll / tokens / std::numbers::ln2, log["inner_loss"].get<double>(), 6e-4);
    EXPECT_NEAR(stats.loss.aux / tokens, log["moe_gate_loss"].get<double>(), 3e-6);
    double overflow1 = 0.0, overflow2 = 0.0, entropy = 0.0;
    for (const RouterStats& layer : stats.routers) {
      overflow1 += 100.0 * layer.drop_rate(0) / static_cast<double>(stats.routers.size());
      overflow2 += 100.0 * layer.drop_rate(1) / static_cast<double>(stats.routers.size());
      entropy += layer.entropy() / static_cast<double>(stats.routers.size());
    }
    EXPECT_NEAR(overflow1, log["overflow_expert1"].get<double>(), 6e-4);
    EXPECT_NEAR(overflow2, log["overflow_expert2"].get<double>(), 6e-4);
    EXPECT_NEAR(entropy, log["entropy_gating"].get<double>(), 6e-4);
  }
  test::expect_parameters_near(
      model->params(), SafetensorsFile(golden("fairseq-small/moe-parallel/after3.safetensors")), 1.0, 5e-7, 3e-4);
}

}  // namespace
}  // namespace troupe
