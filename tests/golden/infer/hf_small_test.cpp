// Families of Hugging Face transformers against data that it wrote (tests/data/golden/hf-small, or the folder that
// TROUPE_GOLDEN_HF names): logits, hidden states, routing, gradients and greedy text in float32, from config.json as
// releases before and after 5 wrote it; and the way to Troupe's format and back.
#include <fmt/core.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>
#include <set>
#include <vector>

#include "golden.h"
#include "infer/generator.h"
#include "infer/incremental.h"
#include "io/atomic_file.h"
#include "io/json_text.h"
#include "model/convert.h"
#include "model/decoder_weights.h"
#include "model/flops.h"
#include "model/hf/hf_model.h"
#include "model/hf/hf_write.h"
#include "model/model_directory.h"
#include "model/workspace.h"
#include "temporary_folder.h"

namespace troupe {
namespace {

namespace fs = std::filesystem;
using test::values_of;

fs::path hf_folder() {
  const char* const folder = std::getenv("TROUPE_GOLDEN_HF");
  return folder && *folder ? fs::path(folder) : fs::path(TROUPE_TEST_DATA) / "golden" / "hf-small";
}

std::vector<std::string> hf_sets() {
  std::set<std::string> names;
  if (fs::is_directory(hf_folder()))
    for (const auto& entry : fs::directory_iterator(hf_folder()))
      if (fs::exists(entry.path() / "golden.safetensors")) names.insert(entry.path().filename().string());
  return {names.begin(), names.end()};
}

// The model of a folder under one of its two configurations.
struct HfCase {
  explicit HfCase(const std::string& name, const std::string& config_name)
      : source(hf_folder() / name), golden(source / "golden.safetensors") {
    fs::copy_file(source / config_name, folder.path() / "config.json");
    fs::create_symlink(fs::absolute(source / "model.safetensors"), folder.path() / "model.safetensors");
    ModelConfig config = read_model_config(folder.path());
    config.moe.aux_loss_weight = 0.0;  // the data's loss is that of the tokens alone,
    config.dropout = config.attention_dropout = 0.0;  // and without noise
    model = std::make_unique<LanguageModel>(config, Precision::kFp32);
    load_parameters(folder.path(), *model);
    batch.B = golden.at("src").shape[0], batch.S = golden.at("src").shape[1];
    batch.src = test::ids_of(golden, "src"), batch.tgt = test::ids_of(golden, "tgt");
  }
  Decoder<F32>& decoder() {
    return model->visit([]<class D>(D& decoder) -> Decoder<F32>& {
      if constexpr (std::is_same_v<D, Decoder<F32>>) return decoder;
      throw std::logic_error("expected a float32 model");
    });
  }
  std::span<const float> flat(const Matrix<float>& m) { return {m.data, static_cast<size_t>(m.rows * m.cols)}; }

  test::TemporaryFolder folder;
  fs::path source;
  SafetensorsFile golden;
  std::unique_ptr<LanguageModel> model;
  Batch batch;
};

void expect_gradients(HfCase& c, const ParameterStore<float>& grads) {
  const SafetensorsFile expected(c.source / "grads.safetensors");
  const HfModel hf(c.folder.path());
  std::set<std::string> seen;
  for (const Parameter& parameter : c.model->table().entries()) {
    const std::span<const float> actual = grads.at(parameter.slot);
    for (const HfPiece& piece : hf_pieces(hf.family(), hf.config(), parameter)) {
      seen.insert(piece.tensor);
      const std::vector<float> theirs = values_of<float>(expected, piece.tensor);
      double largest = 0.0, worst = 0.0;
      for (const float value : theirs) largest = std::max(largest, std::abs(static_cast<double>(value)));
      for (int64_t r = 0; r < piece.rows; ++r)
        for (int64_t k = 0; k < piece.cols; ++k)
          worst = std::max(worst, std::abs(static_cast<double>(actual[(piece.row + r) * piece.cols + k]) -
                                           theirs[piece.offset + r * piece.row_stride + k * piece.col_stride]));
      const bool zero = parameter.name.ends_with("k_proj.bias") && hf.config().positions != Positions::kRotary &&
                        hf.family().model_type != "gpt2";
      EXPECT_LE(worst, zero ? 1e-5 : 2e-4 * largest) << piece.tensor << ", " << parameter.name;
    }
  }
  EXPECT_EQ(seen.size(), expected.tensors().size());
}

void expect_routing(HfCase& c) {
  int64_t n = 0;
  for (int64_t layer = 0; layer < c.model->config().num_layers; ++layer) {
    if (!c.model->config().is_moe_layer(layer)) continue;
    const Routing<float>& routing = c.decoder().workspace().layer(layer).moe.routing;
    const std::vector<float> logits = values_of<float>(c.golden, fmt::format("router.{}", n++));
    std::vector<double> probabilities(logits.begin(), logits.end());
    for (int64_t t = 0; t < routing.T; ++t) {
      double* const p = &probabilities[static_cast<size_t>(t * routing.E)];
      double sum = 0.0;
      for (int64_t e = 0; e < routing.E; ++e) sum += p[e] = std::exp(p[e]);
      for (int64_t e = 0; e < routing.E; ++e) p[e] /= sum;
      std::vector<int32_t> order(static_cast<size_t>(routing.E));
      for (int64_t e = 0; e < routing.E; ++e) order[static_cast<size_t>(e)] = static_cast<int32_t>(e);
      std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) { return p[a] > p[b]; });
      for (int64_t k = 0; k < routing.K; ++k)
        EXPECT_EQ(routing.choices.expert_TK[t * routing.K + k], order[static_cast<size_t>(k)]) << "token " << t;
    }
    test::expect_all_near<float, double>(c.flat(routing.prob_TE), probabilities, 1e-5,
                                         fmt::format("router of layer {}", layer));
  }
}

void expect_equal_to_transformers(const std::string& name, const std::string& config_name) {
  SCOPED_TRACE(name + ", " + config_name);
  HfCase c(name, config_name);
  const ModelConfig& config = c.model->config();
  ParameterStore<float> grads(c.model->table());
  c.model->forward_backward(c.batch, {}, grads);
  Workspace<F32>& work = c.decoder().workspace();
  for (int64_t layer = 0; layer < config.num_layers; ++layer)
    test::expect_all_near<float, float>(c.flat(work.stream[static_cast<size_t>(2 * layer)]),
                                        values_of<float>(c.golden, fmt::format("hidden.{}", layer)), 2e-5,
                                        fmt::format("hidden.{}", layer));
  test::expect_all_near<float, float>(c.flat(work.final_norm.y_TD),
                                      values_of<float>(c.golden, fmt::format("hidden.{}", config.num_layers)), 2e-5,
                                      "final hidden states");
  std::vector<float> logprobs;
  for (const float nll : work.nll_T) logprobs.push_back(-nll);
  test::expect_all_near<float, float>(logprobs, values_of<float>(c.golden, "logprobs"), 1e-5, "logprobs");
  std::vector<float> logits(static_cast<size_t>(c.batch.tokens() * config.vocab_size));
  const auto factor = static_cast<float>(1.0 / config.logit_divisor);
  c.decoder().weights().output.forward(
      work.final_norm.y_TD, {},
      {.out_real = {logits.data(), c.batch.tokens(), config.vocab_size}, .dropout = {.multiplier = factor}});
  test::expect_all_near<float, float>(logits, values_of<float>(c.golden, "logits"), 2e-5, "logits");
  expect_routing(c);
  expect_gradients(c, grads);

  if (!c.golden.find("greedy")) return;
  const std::vector<int32_t> greedy = test::ids_of(c.golden, "greedy");
  GenerateOptions options{.max_tokens = static_cast<int64_t>(greedy.size()), .stop_at_eos = false, .allowed = {}};
  options.sampling.temperature = 0.0;
  EXPECT_EQ(generate(*c.model, test::ids_of(c.golden, "greedy_prompt"), options).tokens, greedy);
}

// To Troupe's format and back: the same tensors to the bit, and a configuration that says the same.
void expect_round_trip(const std::string& name) {
  SCOPED_TRACE(name);
  const fs::path source = hf_folder() / name;
  const test::TemporaryFolder ours, back;
  EXPECT_EQ(convert_model(source, {}, ours.path()).format_from, "hf");
  convert_model(ours.path(), {}, back.path(), {.format = "hf"});
  const SafetensorsFile before(source / "model.safetensors"), after(back.path() / "model.safetensors");
  EXPECT_EQ(before.tensors().size(), after.tensors().size());
  for (const TensorView& tensor : before.tensors()) {
    const TensorView* const other = after.find(tensor.name);
    ASSERT_NE(other, nullptr) << tensor.name;
    EXPECT_EQ(other->shape, tensor.shape) << tensor.name;
    EXPECT_TRUE(std::equal(tensor.bytes.begin(), tensor.bytes.end(), other->bytes.begin())) << tensor.name;
  }
  EXPECT_EQ(config_json(read_model_config(back.path())), config_json(read_model_config(ours.path())));
}

std::vector<float> log_probabilities(LanguageModel& model, const Batch& batch) {
  std::vector<float> nll(static_cast<size_t>(batch.tokens()));
  model.score(batch, {}, nll);
  for (float& value : nll) value = -value;
  return nll;
}

double mean_distance(std::span<const float> a, std::span<const float> b) {
  double sum = 0.0;
  for (size_t i = 0; i < a.size(); ++i) sum += std::abs(static_cast<double>(a[i]) - static_cast<double>(b[i]));
  return sum / static_cast<double>(a.size());
}

double cosine(const ParameterStore<float>& a, const ParameterStore<float>& b) {
  double ab = 0.0, aa = 0.0, bb = 0.0;
  for (size_t i = 0; i < a.all().size(); ++i) {
    const auto x = static_cast<double>(a.all()[i]), y = static_cast<double>(b.all()[i]);
    ab += x * y, aa += x * x, bb += y * y;
  }
  return ab / std::sqrt(aa * bb);
}

// The first sequence as two continuations of a past that they share, of one pass each, and the second of them token by
// token.
std::vector<float> by_shared_prefix(LanguageModel& model, const Batch& batch) {
  return model.visit([&]<class P>(Decoder<P>& decoder) {
    constexpr size_t kPrefix = 7;
    const auto S = static_cast<size_t>(batch.S);
    const std::span<const int32_t> src = std::span(batch.src).first(S), tgt = std::span(batch.tgt).first(S);
    IncrementalDecoder<P> incremental(decoder);
    KvPool<P> pool(model.config(), host_memory());
    KvSequence<P> prefix(pool);
    std::vector<float> nll(S);
    const auto pass = [&](KvSequence<P>& past, size_t begin, size_t end) {
      const NewTokens<P> request{src.subspan(begin, end - begin), &past};
      incremental.score(incremental.run({&request, 1}), tgt.subspan(begin, end - begin),
                        std::span(nll).subspan(begin, end - begin));
    };
    pass(prefix, 0, kPrefix);
    KvSequence<P> whole = prefix.fork(), single = prefix.fork();
    for (size_t t = kPrefix; t < S; ++t) pass(single, t, t + 1);
    const std::vector<float> one_by_one = nll;
    pass(whole, kPrefix, S);
    EXPECT_LE(mean_distance(one_by_one, nll), model.precision() == Precision::kFp32 ? 2e-6 : 0.03);
    for (float& value : nll) value = -value;
    return nll;
  });
}

// Parameters and FLOPs by the tensors themselves, as `troupe cost` has them by formulas.
void expect_counts(const std::string& name, const ModelConfig& config) {
  const ParameterTable table = make_parameter_table(config);
  const SafetensorsFile file(hf_folder() / name / "model.safetensors");
  int64_t all = 0, experts = 0, products = 0;
  for (const TensorView& tensor : file.tensors()) {
    all += num_elements(tensor.shape);
    const bool of_expert = tensor.name.find("experts.") != std::string::npos ||
                           tensor.name.find("block_sparse_moe.input_linear") != std::string::npos ||
                           tensor.name.find("block_sparse_moe.output_linear") != std::string::npos;
    if (of_expert) experts += num_elements(tensor.shape);
  }
  const int64_t idle =
      config.moe.num_experts > 0 ? experts / config.moe.num_experts * (config.moe.num_experts - config.moe.top_k) : 0;
  // GPT-2's file lacks our two rows of positions that no token has.
  const int64_t rows = config.positions == Positions::kLearned && name.starts_with("gpt2") ? 2 * config.d_model : 0;
  int64_t ours = 0;
  for (const Parameter& parameter : table.entries()) {
    ours += parameter.size();
    const bool multiplies = parameter.shape.size() == 2 && !parameter.name.starts_with("embed_") &&
                            !parameter.name.starts_with("output.") && !parameter.name.ends_with("shared_gate.weight");
    if (multiplies && parameter.expert < config.moe.top_k) products += parameter.size();  // K of them: all are alike
  }
  EXPECT_EQ(ours, all + rows);
  EXPECT_EQ(num_active_parameters(config), ours - idle);
  constexpr int64_t kLength = 16;
  const ForwardFlops flops = forward_flops_per_token(config, kLength);
  EXPECT_EQ(flops.total() - flops.attention, static_cast<double>(2 * (products + config.d_model * config.vocab_size)));
  EXPECT_EQ(train_flops_per_token(config, kLength), 3.0 * flops.total());
}

class HfSmall : public testing::TestWithParam<const char*> {};

TEST_P(HfSmall, IsCountedScoredAndTrainedInBothPrecisions) {
  if (!fs::exists(hf_folder() / GetParam())) GTEST_SKIP() << "not in the data: " << hf_folder() / GetParam();
  HfCase c(GetParam(), "config.json");
  const ModelConfig& config = c.model->config();
  expect_counts(GetParam(), config);
  const bool grows = config.rope.scaling == RopeScaling::kDynamic;  // keys keep the frequencies of their pass
  const std::vector<float> logprobs = values_of<float>(c.golden, "logprobs");
  ParameterStore<float> exact(c.model->table());
  c.model->forward_backward(c.batch, {}, exact);
  for (const Precision precision : {Precision::kFp32, Precision::kBf16}) {
    SCOPED_TRACE(to_string(precision));
    const bool wide = precision == Precision::kFp32;
    LanguageModel model(config, precision), again(config, precision, {.recompute = true});
    load_parameters(c.folder.path(), model);
    load_parameters(c.folder.path(), again);
    const std::vector<float> whole = log_probabilities(model, c.batch);
    const double distance = mean_distance(whole, logprobs);
    EXPECT_LE(distance, wide ? 2e-6 : 0.04);
    if (!grows) {
      EXPECT_LE(mean_distance(by_shared_prefix(model, c.batch), whole), wide ? 2e-6 : 0.03);
    }
    ParameterStore<float> grads(model.table()), recomputed(model.table());
    model.forward_backward(c.batch, {}, grads);
    again.forward_backward(c.batch, {}, recomputed);
    const double angle = cosine(grads, exact);
    EXPECT_GE(angle, wide ? 1.0 - 1e-9 : 0.99);
    EXPECT_TRUE(std::ranges::equal(std::as_const(grads).all(), std::as_const(recomputed).all()));
    RecordProperty(wide ? "fp32" : "bf16", fmt::format("{} {}", distance, angle));
  }
}

// Weights rounded to bf16 once stay as they are.
TEST_P(HfSmall, ComesBackToTheBitInBf16) {
  if (!fs::exists(hf_folder() / GetParam())) GTEST_SKIP() << "not in the data: " << hf_folder() / GetParam();
  const test::TemporaryFolder folder;
  const auto narrow = [&](const fs::path& from, const char* to) {
    const fs::path made = folder / to;
    fs::create_directory(made);
    convert_model(from, {}, made, {.format = "hf", .save = {.dtype = DType::kBf16}});
    return made;
  };
  const fs::path once = narrow(hf_folder() / GetParam(), "once"), ours = folder / "ours";
  fs::create_directory(ours);
  convert_model(once, {}, ours);
  const fs::path twice = narrow(ours, "twice");
  EXPECT_EQ(read_file(once / "model.safetensors"), read_file(twice / "model.safetensors"));
  EXPECT_EQ(read_file(once / "config.json"), read_file(twice / "config.json"));
}

TEST_P(HfSmall, EqualsTransformers) {
  if (!fs::exists(hf_folder() / GetParam())) GTEST_SKIP() << "not in the data: " << hf_folder() / GetParam();
  for (const char* config : {"config.json", "config.v4.json"}) expect_equal_to_transformers(GetParam(), config);
}

TEST_P(HfSmall, ComesBackToTheBit) {
  if (!fs::exists(hf_folder() / GetParam())) GTEST_SKIP() << "not in the data: " << hf_folder() / GetParam();
  expect_round_trip(GetParam());
}

constexpr const char* kSets[] = {"gpt2",
                                 "opt",
                                 "xglm",
                                 "gpt_neox",
                                 "llama",
                                 "llama3_rope",
                                 "llama_head_dim",
                                 "mistral_window",
                                 "qwen2",
                                 "qwen3",
                                 "olmo2",
                                 "mixtral",
                                 "olmoe",
                                 "qwen2_moe",
                                 "qwen3_moe",
                                 "granitemoe",
                                 "rope_linear",
                                 "rope_dynamic",
                                 "rope_yarn",
                                 "rope_yarn_factor",
                                 "qwen3_window",
                                 "gpt_neox_serial",
                                 "qwen2_moe_sparse_step",
                                 "qwen3_moe_dense_first",
                                 "olmoe_heads",
                                 "gpt2_relu",
                                 "phi"};
INSTANTIATE_TEST_SUITE_P(Sets, HfSmall, testing::ValuesIn(kSets),
                         [](const auto& info) { return std::string(info.param); });

TEST(HfSmallOthers, EqualTransformersToo) {
  for (const std::string& name : hf_sets()) {
    if (std::find(std::begin(kSets), std::end(kSets), name) != std::end(kSets)) continue;
    for (const char* config : {"config.json", "config.v4.json"}) expect_equal_to_transformers(name, config);
    expect_round_trip(name);
  }
}

}  // namespace
}  // namespace troupe
