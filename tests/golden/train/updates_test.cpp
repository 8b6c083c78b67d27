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
#include "ops/route/losses.h"
#include "train/trainer.h"

namespace troupe {
namespace {

// The optimizer and the schedule of config.json.
Schedule schedule_of(const nlohmann::json& config, int64_t updates) {
  const nlohmann::json& given = config.at("schedule");
  EXPECT_EQ(given.at("kind").get<std::string>(), "polynomial_decay");
  return Schedule({.lr = given.at("lr"),
                   .warmup_steps = given.at("warmup_updates"),
                   .decay_steps = given.at("total_num_update"),
                   .end_lr = given.value("end_learning_rate", 0.0),
                   .power = given.value("power", 1.0)},
                  updates);
}
AdamConfig adam_of(const nlohmann::json& config) {
  const nlohmann::json& given = config.at("adam");
  return {.beta1 = given.at("beta1"),
          .beta2 = given.at("beta2"),
          .eps = given.at("eps"),
          .weight_decay = given.at("weight_decay")};
}

// After every update: "after5.safetensors".
void expect_weights_after(const LanguageModel& model, const std::filesystem::path& folder, size_t updates,
                          const nlohmann::json& config) {
  const std::filesystem::path after = folder / fmt::format("after{}.safetensors", updates);
  test::expect_parameters_near(model.params(), SafetensorsFile(test::present(after)), 1.0,
                               test::tolerance_of(config, fmt::format("after{}", updates), 5e-7), 3e-4);
}

class Updates : public testing::TestWithParam<std::string> {};

TROUPE_GOLDEN_TEST_P(Updates, EqualFairseqs) {
  const std::filesystem::path folder = test::fairseq(GetParam());
  const nlohmann::json config = read_json_file(test::present(folder / "config.json"));
  const SafetensorsFile steps(test::present(folder / "steps.safetensors"));
  const auto model = test::load_golden(folder, Precision::kFp32);
  Trainer trainer(*model, schedule_of(config, test::tensor_of(steps, "lr").shape[0]),
                  {.clip_norm = config.at("clip_norm"), .adam = adam_of(config)},
                  [&](int64_t step, int64_t) { return test::batch_of(steps, fmt::format("step{}.", step)); });
  const auto column = [&](const char* name) { return test::values_of<double>(steps, name); };
  const auto lr = column("lr"), grad_norm = column("grad_norm"), total = column("loss_total"), nll = column("nll_sum"),
             tokens = column("ntokens");
  const bool moe = model->config().moe.num_experts > 0;
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
      EXPECT_NEAR(stats.routers[layer].loss(kBalanceLoss), aux[i * layers + layer], 3e-6);
      EXPECT_EQ(stats.routers[layer].dropped_K[0], dropped[2 * (i * layers + layer)]);
      EXPECT_EQ(stats.routers[layer].dropped_K[1], dropped[2 * (i * layers + layer) + 1]);
    }
  }
  expect_weights_after(*model, folder, lr.size(), config);
}
INSTANTIATE_TEST_SUITE_P(FairseqSmall, Updates, testing::Values("dense", "dense-learned", "moe"),
                         [](const auto& info) {
                           std::string name = info.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

// bf16 rounds the inputs of products to 8 bits of mantissa: a relative error u = 2^-9 on each of the two factors of some
// n = 4 L + 1 products forward and twice as many back, and errors of sums add like a random walk. So gradients are off by
// r = u sqrt(2 * 3 n) of their size. Adam divides each by its own size: an update differs where the error turns a
// gradient's sign, for a share r / pi of gradients with normal distribution, by twice its size: sqrt(4 r / pi) in the mean.
TEST_P(Updates, InBf16StayWithinItsRounding) {
  const std::filesystem::path folder = test::committed_fairseq() / GetParam();
  const nlohmann::json config = read_json_file(folder / "config.json");
  const SafetensorsFile steps(folder / "steps.safetensors");
  const auto model = test::load_golden(folder, Precision::kBf16);
  const ParameterStore<float>& params = std::as_const(*model).params();
  const std::vector<float> before(params.all().begin(), params.all().end());
  Trainer trainer(*model, schedule_of(config, steps.at("lr").shape[0]),
                  {.clip_norm = config.at("clip_norm"), .adam = adam_of(config)},
                  [&](int64_t step, int64_t) { return test::batch_of(steps, fmt::format("step{}.", step)); });
  const double products = 3.0 * (4.0 * static_cast<double>(model->config().num_layers) + 1.0);
  const double r = 0x1p-9 * std::sqrt(2.0 * products);
  const auto grad_norm = test::values_of<double>(steps, "grad_norm"), nll = test::values_of<double>(steps, "nll_sum"),
             tokens = test::values_of<double>(steps, "ntokens");
  for (size_t i = 0; i < nll.size(); ++i) {
    SCOPED_TRACE(fmt::format("update {}", i));
    const StepStats stats = trainer.step();
    EXPECT_EQ(static_cast<double>(stats.loss.tokens), tokens[i]);
    EXPECT_NEAR(stats.loss.nll, nll[i], 5.0 * r * nll[i] / std::sqrt(tokens[i]));
    EXPECT_NEAR(stats.grad_norm, grad_norm[i], r * grad_norm[i]);
  }
  const SafetensorsFile after(folder / fmt::format("after{}.safetensors", nll.size()));
  double difference = 0.0, update = 0.0;
  for (const Parameter& parameter : params.table().entries()) {
    if (parameter.name.ends_with("k_proj.bias")) continue;  // its true gradient is zero
    const std::vector<float> expected = test::values_of<float>(after, fairseq_name_of(parameter.name).value());
    const std::span<const float> actual = params.at(parameter.slot);
    const float* const first = before.data() + (actual.data() - params.all().data());
    for (size_t i = 0; i < expected.size(); ++i) {
      difference += std::pow(static_cast<double>(actual[i]) - expected[i], 2);
      update += std::pow(static_cast<double>(expected[i]) - first[i], 2);
    }
  }
  EXPECT_LE(std::sqrt(difference / update), std::sqrt(4.0 * r / std::numbers::pi));
  EXPECT_GT(difference, 0.0);  // it was bf16
}

// The batches of several processes are accumulated micro-batches, each with its own routing and capacity.
TROUPE_GOLDEN_TEST(Updates, OfProcessesEqualMicroBatches) {
  const std::filesystem::path folder = test::fairseq("moe-parallel");
  const SafetensorsFile steps(test::present(folder / "steps.safetensors"));
  const nlohmann::json config = read_json_file(test::present(folder / "config.json"));
  const nlohmann::json& logs = config.at("logs");
  const int64_t processes = test::tensor_of(steps, "step0.src_tokens").shape[0];
  EXPECT_EQ(processes, config.value("ranks", processes));
  const auto model = test::load_golden(folder, Precision::kFp32);
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
  Trainer trainer(*model, schedule_of(config, static_cast<int64_t>(logs.size())),
                  {.micro_batches = processes, .clip_norm = config.at("clip_norm"), .adam = adam_of(config)}, part);
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
  expect_weights_after(*model, folder, logs.size(), config);
}

}  // namespace
}  // namespace troupe
