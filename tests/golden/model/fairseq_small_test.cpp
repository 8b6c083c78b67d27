// The decoder against fairseq's own forward and backward, float32: hidden states, logits, losses, routing, gradients.
#include <fmt/core.h>
#include <gtest/gtest.h>

#include <vector>

#include "golden.h"
#include "model/workspace.h"
#include "ops/route/losses.h"
#include "tensor/host_matrix.h"

namespace troupe {
namespace {

constexpr double kKeyBiasGradientTolerance = 1e-8;

// The data of one folder, and what correct evaluations of it differ by.
struct Data {
  explicit Data(const std::filesystem::path& from)
      : folder(from),
        forward(test::present(folder / "forward.safetensors")),
        config(std::filesystem::exists(folder / "config.json") ? read_json_file(folder / "config.json")
                                                               : nlohmann::json::object()),
        logit_tolerance(test::tolerance_of(config, "logits", 3e-6)),
        gradient_tolerance(test::tolerance_of(config, "grads", 1.5e-7)) {}
  std::filesystem::path folder;
  SafetensorsFile forward;
  nlohmann::json config;
  double logit_tolerance, gradient_tolerance;
};

class FairseqSmall : public testing::TestWithParam<std::string> {};
class FairseqSmallBf16 : public testing::TestWithParam<std::string> {};

Decoder<F32>& decoder_of(LanguageModel& model) {
  return model.visit([]<class D>(D& decoder) -> Decoder<F32>& {
    if constexpr (std::is_same_v<D, Decoder<F32>>) return decoder;
    throw std::logic_error("expected a float32 model");
  });
}

std::vector<float> logprobs(std::span<const float> nll) {
  std::vector<float> values;
  for (const float value : nll) values.push_back(-value);
  return values;
}

// Decisions of MoE layer number n in the last pass.
void expect_routing(const SafetensorsFile& file, const std::string& prefix, const Routing<float>& routing) {
  const std::vector<float> logits = test::values_of<float>(file, prefix + "gate_logits");
  std::vector<double> probabilities(logits.size());
  for (int64_t t = 0; t < routing.T; ++t) {
    double sum = 0.0;
    for (int64_t e = 0; e < routing.E; ++e) sum += std::exp(static_cast<double>(logits[t * routing.E + e]));
    for (int64_t e = 0; e < routing.E; ++e)
      probabilities[t * routing.E + e] = std::exp(static_cast<double>(logits[t * routing.E + e])) / sum;
  }
  test::expect_all_near<float, double>({routing.prob_TE.data, probabilities.size()}, probabilities, 2e-6,
                                       prefix + "gate_logits (softmax)");
  for (int64_t k = 0; k < routing.K; ++k) {
    const std::string number = std::to_string(k + 1);
    const auto expert = test::values_of<int32_t>(file, prefix + "expert" + number);
    const auto place = test::values_of<int32_t>(file, prefix + "place" + number);
    const auto kept = test::values_of<uint8_t>(file, prefix + "kept" + number);
    const auto weight = test::values_of<float>(file, prefix + "weight" + number);
    for (int64_t t = 0; t < routing.T; ++t) {
      const int64_t i = t * routing.K + k;
      float own_weight = 0.0f;
      for (const int32_t row : routing.rows.rows_of(t))
        if (routing.rows.choice_of_R[row] == k) own_weight = routing.rows.weight_R[row];
      ASSERT_EQ(routing.choices.expert_TK[i], expert[t]) << prefix << " token " << t << " choice " << k;
      ASSERT_EQ(routing.choices.place_TK[i], place[t]) << prefix << " token " << t << " choice " << k;
      ASSERT_EQ(routing.choices.kept_TK[i], kept[t]) << prefix << " token " << t << " choice " << k;
      ASSERT_NEAR(own_weight, weight[t], 1e-6) << prefix << " token " << t << " choice " << k;
    }
  }
}

void expect_sums(const SafetensorsFile& file, const std::string& prefix, const LossSum& loss,
                 std::span<const RouterStats> stats) {
  const double nll = test::scalar_of(file, prefix + "loss_nll_sum"),
               total = test::scalar_of(file, prefix + "loss_total");
  EXPECT_EQ(loss.tokens, test::values_of<int64_t>(file, prefix + "ntokens").at(0));
  EXPECT_NEAR(loss.nll, nll, 2e-7 * nll);
  EXPECT_NEAR(loss.total, total, 2e-7 * total);
  if (stats.empty()) return;
  const std::vector<double> aux = test::values_of<double>(file, prefix + "aux");
  ASSERT_EQ(stats.size(), aux.size());
  for (size_t n = 0; n < aux.size(); ++n) {
    EXPECT_NEAR(stats[n].loss(kBalanceLoss), aux[n], 1e-6) << n;
    const auto overflow = test::values_of<double>(file, fmt::format("{}moe{}.overflow_percent", prefix, n));
    for (size_t k = 0; k < overflow.size(); ++k)
      EXPECT_NEAR(100.0 * stats[n].drop_rate(static_cast<int64_t>(k)), overflow[k], 1e-4) << n << ", " << k;
  }
}

TROUPE_GOLDEN_TEST_P(FairseqSmall, TrainingForwardAndGradients) {
  const Data data(test::fairseq(GetParam()));
  const SafetensorsFile& forward = data.forward;
  const auto model = test::load_golden(data.folder, Precision::kFp32);
  ParameterStore<float> grads(model->table());
  const Batch batch = test::batch_of(forward, "");
  const LossSum loss = model->forward_backward(batch, {}, grads);
  Workspace<F32>& work = decoder_of(*model).workspace();
  const ModelConfig& config = model->config();

  const std::vector<float> hidden = test::values_of<float>(forward, "train.hidden_row0");
  const int64_t positions = forward.at("train.hidden_row0").shape[1];
  std::vector<float> residual;
  for (int64_t layer = 0; layer <= config.num_layers; ++layer)
    for (int64_t t = 0; t < positions; ++t) {
      const float* const row = HostMatrix(work.stream[2 * layer]).row(t);
      residual.insert(residual.end(), row, row + config.d_model);
    }
  test::expect_all_near<float, float>(residual, hidden, data.logit_tolerance, "hidden_row0");

  std::vector<float> logits(static_cast<size_t>(batch.tokens() * config.vocab_size));
  decoder_of(*model).weights().output.forward(work.final_norm.y_TD, {},
                                              {.out_real = {logits.data(), batch.tokens(), config.vocab_size}});
  test::expect_all_near<float, float>(logits, test::values_of<float>(forward, "train.logits"), data.logit_tolerance,
                                      "logits");
  test::expect_all_near<float, float>(logprobs(work.nll_T), test::values_of<float>(forward, "train.target_logprob"),
                                      data.logit_tolerance, "target_logprob");
  expect_sums(forward, "train.", loss, model->router_stats());
  int64_t n = 0;
  for (int64_t layer = 0; layer < config.num_layers; ++layer)
    if (config.is_moe_layer(layer))
      expect_routing(forward, fmt::format("train.moe{}.", n++), work.layer(layer).moe.routing);

  test::expect_parameters_near(grads, SafetensorsFile(test::present(data.folder / "grads.safetensors")),
                               1.0 / static_cast<double>(loss.tokens), data.gradient_tolerance,
                               kKeyBiasGradientTolerance);
}

TROUPE_GOLDEN_TEST_P(FairseqSmall, PaddedBatch) {
  const Data data(test::fairseq(GetParam()));
  const SafetensorsFile& forward = data.forward;
  const auto model = test::load_golden(data.folder, Precision::kFp32);
  ParameterStore<float> grads(model->table());
  const LossSum loss = model->forward_backward(test::batch_of(forward, "padded."), {}, grads);
  Workspace<F32>& work = decoder_of(*model).workspace();
  test::expect_all_near<float, float>(logprobs(work.nll_T), test::values_of<float>(forward, "padded.target_logprob"),
                                      data.logit_tolerance, "target_logprob");
  expect_sums(forward, "padded.", loss, model->router_stats());
  int64_t n = 0;
  for (int64_t layer = 0; layer < model->config().num_layers; ++layer)
    if (model->config().is_moe_layer(layer))
      expect_routing(forward, fmt::format("padded.moe{}.", n++), work.layer(layer).moe.routing);
}

std::string name_of(const testing::TestParamInfo<std::string>& info) {
  return info.param == "dense" ? "Dense" : info.param == "moe" ? "Moe" : "DenseLearned";
}
INSTANTIATE_TEST_SUITE_P(Sets, FairseqSmall, testing::Values("dense", "dense-learned", "moe"), name_of);
INSTANTIATE_TEST_SUITE_P(Sets, FairseqSmallBf16, testing::Values("dense", "dense-learned", "moe"), name_of);

TROUPE_GOLDEN_TEST(FairseqSmallMoe, EvaluationCapacityByFraction) {
  const Data data(test::fairseq("moe"));
  const SafetensorsFile& forward = data.forward;
  const auto model = test::load_golden(data.folder, Precision::kFp32);
  const Batch batch = test::batch_of(forward, "");
  std::vector<float> nll(static_cast<size_t>(batch.tokens()));
  int64_t found = 0;
  for (const TensorView& tensor : forward.tensors()) {
    if (!tensor.name.starts_with("eval_fraction_") || !tensor.name.ends_with(".target_logprob")) continue;
    ++found;
    const std::string prefix = tensor.name.substr(0, tensor.name.size() - std::string("target_logprob").size());
    const double fraction = std::stod(prefix.substr(std::string("eval_fraction_").size()));
    RunMode mode;
    mode.capacity =
        fraction < 0 ? CapacityRule{CapacityRule::kTraining} : CapacityRule{CapacityRule::kFraction, fraction};
    const LossSum loss = model->score(batch, mode, nll);
    test::expect_all_near<float, float>(logprobs(nll), test::values_of<float>(forward, tensor.name),
                                        data.logit_tolerance, tensor.name);
    expect_sums(forward, prefix, loss, model->router_stats());
    // Evaluation keeps the activations of the last layer alone.
    expect_routing(forward, fmt::format("{}moe{}.", prefix, model->router_stats().size() - 1),
                   decoder_of(*model).workspace().layer(model->config().num_layers - 1).moe.routing);
  }
  if (found == 0) throw test::NotInTheData("eval_fraction_F.target_logprob");
}

// bf16 rounds the inputs of products to 8 bits of mantissa: a relative error u = 2^-9 on each of the two factors. A
// logit is one product of a hidden state that some 4 products per layer have disturbed; errors of a sum add like a
// random walk, so its standard deviation is about u * sqrt(2 (4 L + 1)) of the logits' own. Five of those, and twice
// that for the difference of two logits in a log-probability.
TEST_P(FairseqSmallBf16, StaysWithinItsRounding) {
  const Data data(test::committed_fairseq() / GetParam());
  const SafetensorsFile& forward = data.forward;
  const auto model = test::load_golden(data.folder, Precision::kBf16);
  const Batch batch = test::batch_of(forward, "");
  std::vector<float> nll(static_cast<size_t>(batch.tokens()));
  model->score(batch, {.capacity = {CapacityRule::kTraining}}, nll);
  const std::vector<float> logits = test::values_of<float>(forward, "train.logits");
  double squares = 0.0;
  for (const float value : logits) squares += static_cast<double>(value) * value;
  const double rms = std::sqrt(squares / static_cast<double>(logits.size()));
  const double sigma = 0x1.0p-9 * std::sqrt(2.0 * (4.0 * static_cast<double>(model->config().num_layers) + 1.0)) * rms;
  const std::vector<float> expected = test::values_of<float>(forward, "train.target_logprob");
  double mean = 0.0;
  int64_t beyond = 0;
  for (size_t t = 0; t < nll.size(); ++t) {
    const double error = -static_cast<double>(nll[t]) - static_cast<double>(expected[t]);
    mean += error / static_cast<double>(nll.size());
    // A routing decision near a tie may fall the other way: such tokens are few, and bounded by the mean below.
    beyond += std::abs(error) > 10.0 * sigma;
  }
  EXPECT_LE(std::abs(mean), 10.0 * sigma / std::sqrt(static_cast<double>(nll.size())));
  EXPECT_LE(static_cast<double>(beyond),
            model->config().moe.num_experts ? 0.05 * static_cast<double>(nll.size()) : 0.0);
}

}  // namespace
}  // namespace troupe
