// What fairseq computed with several processes, computed by several ranks: a process's batch is a routing group.
#include <fmt/core.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <numbers>

#include "golden.h"
#include "io/json_file.h"
#include "ranks.h"
#include "train/trainer.h"

namespace troupe {
namespace {

TROUPE_GOLDEN_TEST(Fairseq, UpdatesOfItsProcesses) {
  const std::filesystem::path folder = test::fairseq("moe-parallel");
  const SafetensorsFile steps(test::present(folder / "steps.safetensors"));
  const nlohmann::json config = read_json_file(test::present(folder / "config.json"));
  const nlohmann::json &logs = config.at("logs"), &schedule = config.at("schedule"), &adam = config.at("adam");
  const Shape shape = test::tensor_of(steps, "step0.src_tokens").shape;  // process, row, column
  if (test::world().size() > shape[0]) GTEST_SKIP() << "more ranks than fairseq's " << shape[0] << " processes";
  const auto model = test::load_golden(folder, Precision::kFp32, shape[1], &test::world());
  const Schedule rates({.lr = schedule.at("lr"),
                        .warmup_steps = schedule.at("warmup_updates"),
                        .decay_steps = schedule.at("total_num_update"),
                        .end_lr = schedule.value("end_learning_rate", 0.0),
                        .power = schedule.value("power", 1.0)},
                       static_cast<int64_t>(logs.size()));
  Trainer trainer(*model, rates,
                  {.clip_norm = config.at("clip_norm"),
                   .adam = {.beta1 = adam.at("beta1"),
                            .beta2 = adam.at("beta2"),
                            .eps = adam.at("eps"),
                            .weight_decay = adam.at("weight_decay")}},
                  [&](int64_t step, int64_t) {
                    const std::string prefix = fmt::format("step{}.", step);
                    const Shape all = steps.at(prefix + "src_tokens").shape;
                    return Batch{.B = all[0] * all[1],
                                 .S = all[2],
                                 .src = test::ids_of(steps, prefix + "src_tokens"),
                                 .tgt = test::ids_of(steps, prefix + "target")};
                  });
  for (const nlohmann::json& log : logs) {
    const StepStats stats = trainer.step();
    const auto tokens = static_cast<double>(stats.loss.tokens);
    EXPECT_EQ(stats.loss.tokens, log["sample_size"].get<int64_t>());
    EXPECT_NEAR(stats.loss.total / tokens / std::numbers::ln2, log["loss"].get<double>(), 6e-4);  // of 3 digits
    EXPECT_NEAR(stats.loss.nll / tokens / std::numbers::ln2, log["inner_loss"].get<double>(), 6e-4);
    EXPECT_NEAR(stats.loss.aux / tokens, log["moe_gate_loss"].get<double>(), 3e-6);
    double overflow1 = 0.0, entropy = 0.0;
    for (const RouterStats& layer : stats.routers) {
      overflow1 += 100.0 * layer.drop_rate(0) / static_cast<double>(stats.routers.size());
      entropy += layer.entropy() / static_cast<double>(stats.routers.size());
    }
    EXPECT_NEAR(overflow1, log["overflow_expert1"].get<double>(), 6e-4);
    EXPECT_NEAR(entropy, log["entropy_gating"].get<double>(), 6e-4);
  }
  test::expect_parameters_near(
      model->params(), SafetensorsFile(test::present(folder / fmt::format("after{}.safetensors", logs.size()))), 1.0,
      test::tolerance_of(config, fmt::format("after{}", logs.size()), 5e-7), 3e-4);
}

}  // namespace
}  // namespace troupe
