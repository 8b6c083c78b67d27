// Whole models through the rows for CUDA, on the emulated grid and in memory that is closed to all but running ops,
// against the same on the processor.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "facts.h"
#include "infer/generator.h"
#include "infer/incremental.h"
#include "io/atomic_file.h"
#include "kernels/cuda/emulator.h"
#include "on_the_grid.h"
#include "ops/loss.h"
#include "ops/transfer.h"
#include "recorded_cutlass.h"
#include "setting.h"
#include "small_model.h"
#include "temporary_folder.h"
#include "train/checkpoint.h"
#include "train/freeze.h"
#include "train/lora_config.h"
#include "train/packed_texts.h"
#include "train/trainer.h"

namespace troupe {
namespace {

using test::OnTheGrid;

// Root mean square of the difference by that of what is expected.
double distance(const std::vector<float>& actual, const std::vector<float>& expected) {
  double difference = 0.0, size = 0.0;
  for (size_t i = 0; i < expected.size(); ++i) {
    difference += std::pow(double{actual[i]} - double{expected[i]}, 2);
    size += std::pow(double{expected[i]}, 2);
  }
  return std::sqrt(difference / size);
}

// The most that is held at once is counted, not what was held in all.
TEST(DeviceMemory, MostBytes) {
  const OnTheGrid grid;
  const int64_t size = cuda::most_bytes() + 4096;
  for (int turn = 0; turn < 2; ++turn) {
    const Buffer<std::byte> held(size, cuda::memory());
    EXPECT_GE(cuda::most_bytes(), size);
    EXPECT_LT(cuda::most_bytes(), 2 * size);
  }
  const Buffer<std::byte> one(size, cuda::memory()), two(size, cuda::memory());
  EXPECT_GE(cuda::most_bytes(), 2 * size);
}

// What is fetched is what was there when it was asked for; its memory is for others when nobody has it any more.
TEST(Fetched, IsOfItsPlaceInTheOrder) {
  const OnTheGrid grid;
  Buffer<float> values(3, cuda::memory());
  const auto put = [&](float first) {
    const std::vector<float> here = {first, first + 1, first + 2};
    copy<float>(here, values.span());
  };
  put(1);
  const float* block = nullptr;
  {
    const cuda::Fetched<float> one(values.data(), 3);
    put(5);
    const cuda::Fetched<float> five(values.data(), 3), nothing(values.data(), 0);
    EXPECT_EQ(std::vector(five.get().begin(), five.get().end()), (std::vector<float>{5, 6, 7}));
    EXPECT_EQ(std::vector(one.get().begin(), one.get().end()), (std::vector<float>{1, 2, 3}));
    EXPECT_TRUE(nothing.get().empty());
    block = five.get().data();
  }
  const cuda::Fetched<float> first(values.data(), 3), second(values.data(), 3);
  EXPECT_TRUE(first.get().data() == block || second.get().data() == block);
}

// A layer whose choices all have a place: what becomes of it is the device's business alone, but for products by
// cuBLASLt, which is told of each expert's rows.
TEST(PassesOnTheGrid, WaitForNothingButTheRowsOfExpertsOfALibrary) {
  ModelConfig config = test::small_config();
  config.moe.num_experts = 4, config.moe.every = 1;
  Batch batch = test::padded_batch(config, 0, 0);
  for (int32_t& id : batch.src) id = std::max(id, 5);
  const auto expect_waits = [&](Precision precision, const char* way, int64_t waits) {
    const test::Setting set("TROUPE_CUDA_GROUPED", way);
    OnTheGrid grid;
    if (cuda::machine()->stream()) GTEST_SKIP() << "a GPU does not count them";
    LanguageModel model(config, precision, {}, grid.memory());
    initialize(model.params(), 1);
    ParameterStore<float> grads(model.table(), {}, grid.memory());
    const LossSum loss = model.forward_backward(batch, {.key = 5}, grads);
    const RouterStats stats = model.router_stats()[1];
    grid.close();
    const int64_t before = cuda::emulator().waits();
    const auto first = model.forward_backward_later(batch, {.key = 5}, grads);
    const auto second = model.forward_backward_later(batch, {.key = 6}, grads);
    EXPECT_EQ(cuda::emulator().waits() - before, waits);
    const PassSums sums = first();  // not those of the second
    EXPECT_EQ(sums.loss.total, loss.total);
    EXPECT_EQ(sums.routers[1].load_E, stats.load_E);
    EXPECT_EQ(sums.routers[1].loss("balance"), stats.loss("balance"));
    EXPECT_EQ(sums.routers[1].entropy_sum, stats.entropy_sum);
    EXPECT_NE(second().loss.total, loss.total);
  };
  expect_waits(Precision::kBf16, "", 0);
  EXPECT_TRUE(test::RecordedCutlass::calls().empty());
  expect_waits(Precision::kBf16, "cutlass", 0);
  // Two maps of two layers, forward, for inputs and for weights, in three passes.
  if (!IsSkipped()) {
    EXPECT_EQ(test::RecordedCutlass::calls().size(), 3 * 2 * 2 * 3);
  }
  expect_waits(Precision::kBf16, "0", 4);  // in two layers of two passes
  expect_waits(Precision::kFp32, "", 4);
}

// Of a layer, forward and backward: what docs/performance.md counts, but that cuDNN's attention is one call each way.
TEST(PassesOnTheGrid, LaunchesOfALayer) {
  const auto launches = [](int64_t layers, int64_t experts) {
    ModelConfig config = test::small_config();
    config.num_layers = layers, config.moe.num_experts = experts, config.moe.every = 1, config.dropout = 0.0;
    const Batch batch = test::padded_batch(config, 0, 0);
    const OnTheGrid grid;
    LanguageModel model(config, Precision::kBf16, {}, cuda::memory());
    initialize(model.params(), 1);
    ParameterStore<float> grads(model.table(), {}, cuda::memory());
    model.forward_backward(batch, {.key = 5}, grads);  // which rounds weights
    const int64_t before = cuda::emulator().launches();
    model.forward_backward(batch, {.key = 5}, grads);
    return cuda::emulator().launches() - before;
  };
  if (cuda::machine() && cuda::machine()->stream()) GTEST_SKIP() << "a GPU does not count them";
  EXPECT_EQ(launches(3, 0) - launches(2, 0), 26);
  EXPECT_EQ(launches(3, 4) - launches(2, 4), 48);
}

// Passes that end a gradient add up that of a bias on their way, or leave it to the product for the weights': every
// parameter has it once, also where layers lie in one place.
TEST(PassesOnTheGrid, EveryParameterHasItsGradientOnce) {
  ModelConfig config = test::small_config();
  config.num_layers = 4, config.dropout = config.attention_dropout = 0.0;
  config.moe.num_experts = 4, config.moe.every = 2;
  const Batch batch = test::padded_batch(config, 0, 0);
  using ByName = std::map<std::string, std::vector<float>>;
  const auto gradients = [&](Precision precision, Memory& memory, LayersLie lie) {
    LanguageModel model(config, precision, {}, memory);
    initialize(model.params(), 1);
    ParameterStore<float> grads(model.table(), {}, memory, lie);
    ByName found;
    const auto take = [&](int64_t layer) {
      for (const Parameter& parameter : grads.entries()) {
        if (parameter.layer != layer) continue;
        std::vector<float>& values = found[parameter.name];
        values.resize(static_cast<size_t>(parameter.size()));
        copy<float>(std::as_const(grads).at(parameter.slot), values);
      }
      if (layer > 0 && lie == LayersLie::kTogether) grads.set_layers_place_zero();
    };
    model.forward_backward(batch, {.key = 5}, grads, [&](int64_t layer, const auto&) { take(layer); });
    take(-1);
    return found;
  };
  for (const Precision precision : {Precision::kFp32, Precision::kBf16}) {
    const ByName expected = gradients(precision, host_memory(), LayersLie::kApart);
    const OnTheGrid grid;
    for (const LayersLie lie : {LayersLie::kApart, LayersLie::kTogether})
      for (const auto& [name, actual] : gradients(precision, active_memory(), lie)) {
        if (name.ends_with("k_proj.bias")) continue;  // 0 but for rounding: what all keys have moves no score
        EXPECT_LE(distance(actual, expected.at(name)), precision == Precision::kFp32 ? 1e-4 : 4e-2) << name;
      }
  }
}

// A gradient that takes the place of its logits: in rows of several pieces, whatever thread goes first.
TEST(OutputLossOnTheGrid, TheOrderOfThreadsDoesNotShow) {
  constexpr int64_t T = 2, V = 17001, D = 8;
  std::vector<float> embed(V * D), first;
  std::vector<bf16> h(T * D);
  for (size_t i = 0; i < embed.size(); ++i) embed[i] = std::sin(static_cast<float>(i));
  for (size_t i = 0; i < h.size(); ++i) h[i] = static_cast<bf16>(std::cos(static_cast<float>(i)));
  const std::vector<int32_t> targets = {9000, 3};
  for (const bool backwards : {false, true}) {
    OnTheGrid grid(backwards);
    if (cuda::machine()->stream()) GTEST_SKIP() << "a GPU has an order of its own";
    const auto there = [&]<class T>(const std::vector<T>& values) {
      Buffer<T> buffer(static_cast<int64_t>(values.size()), grid.memory());
      copy<T>(values, buffer.span());
      return buffer;
    };
    const Buffer<float> weights = there(embed);
    const Buffer<bf16> rows = there(h);
    const Buffer<int32_t> ids = there(targets);
    Buffer<float> results(T + T * D + V * D, grid.memory());
    float *const nll = results.data(), *const dh = nll + T, *const dembed = dh + T * D;
    run(OutputLossWithGradient<Bf16>{.embed = LinearBank<Bf16>(1, V, D, weights.data(), nullptr),
                                     .h_TD = {rows.data(), T, D},
                                     .targets_T = {ids.data(), T},
                                     .nll_T = {nll, T},
                                     .dh_TD = {dh, T, D},
                                     .dembed_VD = dembed});
    std::vector<float> here(T + T * D + V * D);
    copy<float>(std::as_const(results).span(), std::span(here));
    if (backwards)
      EXPECT_EQ(here, first);
    else
      first = here;
  }
}

class EmulatedGrid : public testing::TestWithParam<std::tuple<test::ModelCase, Precision>> {
 protected:
  void SetUp() override {
    config_ = test::small_config();
    std::get<0>(GetParam()).set(config_, options_);
  }

  virtual Batch batch(int64_t step, int64_t micro) const { return test::padded_batch(config_, step, micro); }

  struct Outcome {
    std::vector<double> losses, norms;
    std::vector<float> gradient, weights, nll;
    std::vector<int64_t> loads;
  };
  // Two updates and a score.
  Outcome outcome(Memory& memory, const std::function<void()>& close) const {
    LanguageModel model(config_, std::get<1>(GetParam()), options_, memory);
    initialize(model.params(), 1);
    Trainer trainer(model, Schedule({.kind = ScheduleKind::kConstant, .lr = 1e-3}, 100),
                    {.micro_batches = whole_ ? 1 : 2,
                     .clip_norm = whole_ ? 0.0 : 0.1,
                     .z_loss = 1e-3,
                     .optimizer = optimizer_,
                     .trained = trained_,
                     .lora = lora_},
                    [this](int64_t step, int64_t micro) { return batch(step, micro); });
    Outcome result;
    result.nll.resize(16);
    const auto read = [&](std::span<const float> values, std::vector<float>& into) {
      into.resize(values.size());
      copy<float>(values, into);
    };
    close();
    for (int step = 0; step < 2; ++step) {
      const StepStats stats = trainer.step();
      result.losses.push_back(stats.loss.total), result.norms.push_back(stats.grad_norm);
      for (const RouterStats& router : stats.routers)
        result.loads.insert(result.loads.end(), router.load_E.begin(), router.load_E.end());
      if (step == 0) read(std::as_const(trainer).gradients().all(), result.gradient);
    }
    model.score(batch(2, 0), {}, result.nll);
    read(std::as_const(model).params().all(), result.weights);
    return result;
  }
  Outcome on_the_grid(bool backwards = false) const {
    OnTheGrid grid(backwards);
    return outcome(grid.memory(), [&] { grid.close(); });
  }

  ModelConfig config_;
  DecoderOptions options_;
  OptimizerConfig optimizer_;
  bool whole_ = false;  // an update is one micro-batch, without clipping
  Selection trained_;
  std::optional<LoraOptions> lora_;
};

TEST_P(EmulatedGrid, TrainsAsTheProcessorDoes) {
  const Outcome expected = outcome(host_memory(), [] {}), actual = on_the_grid();
  const bool single = std::get<1>(GetParam()) == Precision::kFp32;
  const double tolerance = single ? 2e-5 : 2e-2;  // sums of some hundred terms in float32; operands of bf16
  ASSERT_EQ(actual.gradient.size(), expected.gradient.size());
  EXPECT_LE(distance(actual.weights, expected.weights), tolerance);  // Adam's steps are a thousandth of them
  EXPECT_LE(distance(actual.nll, expected.nll), tolerance);
  for (size_t step = 0; step < 2; ++step)
    EXPECT_NEAR(actual.losses[step], expected.losses[step], tolerance * expected.losses[step]);
  // In bf16 a token between two experts may go to the other one, whose gradients are then others.
  if (single || config_.moe.num_experts == 0) {
    EXPECT_LE(distance(actual.gradient, expected.gradient), tolerance);
    for (size_t step = 0; step < 2; ++step)
      EXPECT_NEAR(actual.norms[step], expected.norms[step], tolerance * expected.norms[step]);
  }
  if (single) {
    EXPECT_EQ(actual.loads, expected.loads);
  }
}

// A phase in which a thread reads what another one writes would show here.
TEST_P(EmulatedGrid, TheOrderOfThreadsDoesNotShow) {
  const Outcome forwards = on_the_grid(), backwards = on_the_grid(true);
  EXPECT_EQ(forwards.gradient, backwards.gradient);
  EXPECT_EQ(forwards.weights, backwards.weights);
  EXPECT_EQ(forwards.nll, backwards.nll);
  EXPECT_EQ(forwards.losses, backwards.losses);
  EXPECT_EQ(forwards.loads, backwards.loads);
}

TEST_P(EmulatedGrid, ContinuesTextAsTheProcessorDoes) {
  if (config_.moe.capacity == Capacity::kFairseq || config_.moe.router == RouterKind::kExpertChoice) GTEST_SKIP() << "routing depends on the other tokens";
  const auto continued = [&](Memory& memory, const std::function<void()>& close) {
    LanguageModel model(config_, Precision::kFp32, {}, memory);
    initialize(model.params(), 3);
    close();
    GenerateOptions options;
    options.max_tokens = 6;
    options.sampling.temperature = 0.0;
    options.stop_at_eos = false;
    return generate(model, std::vector<int32_t>{5, 9, 12, 7}, options).tokens;
  };
  const auto expected = continued(host_memory(), [] {});
  OnTheGrid grid;
  EXPECT_EQ(continued(grid.memory(), [&] { grid.close(); }), expected);
}

// What the grid saves is what the processor reads, and back, bit by bit.
TEST_P(EmulatedGrid, SavesWhatTheOtherDeviceReads) {
  const test::TemporaryFolder folder;
  const auto after = [&](Memory& memory, const std::function<void()>& close, const Checkpoint* from, int64_t steps) {
    LanguageModel model(config_, std::get<1>(GetParam()), options_, memory);
    initialize(model.params(), 1);
    Trainer trainer(model, Schedule({.kind = ScheduleKind::kConstant, .lr = 1e-3}, 100), {},
                    [this](int64_t step, int64_t micro) { return batch(step, micro); });
    close();
    TrainState state;
    state.config.model = config_;
    if (from) load_trainer(*from, state = load_train_state(*from), trainer);
    for (int64_t step = 0; step < steps; ++step) state.add(trainer.step(), 1.0);
    return save_checkpoint(folder.path() / (from ? "second" : "first"), state, trainer, {});
  };
  const auto bytes = [](const Checkpoint& checkpoint, const char* file) { return read_file(checkpoint.folder / file); };
  Checkpoint saved;
  {
    OnTheGrid grid;
    saved = after(grid.memory(), [&] { grid.close(); }, nullptr, 1);
  }
  const Checkpoint again = after(host_memory(), [] {}, &saved, 0);
  for (const char* file : {"model.safetensors", "optimizer.safetensors"})
    EXPECT_EQ(bytes(saved, file), bytes(again, file)) << file;
  OnTheGrid grid;
  const Checkpoint back = after(grid.memory(), [&] { grid.close(); }, &again, 0);
  for (const char* file : {"model.safetensors", "optimizer.safetensors"})
    EXPECT_EQ(bytes(saved, file), bytes(back, file)) << file;
}

// The scores of a text over the keys and values of its past.
TEST_P(EmulatedGrid, ScoresContinuationsAsTheProcessorDoes) {
  if (config_.moe.capacity == Capacity::kFairseq || config_.moe.router == RouterKind::kExpertChoice)
    GTEST_SKIP() << "routing depends on the other tokens";
  const auto scores = [&](Memory& memory, const std::function<void()>& close) {
    LanguageModel model(config_, Precision::kFp32, {}, memory);
    initialize(model.params(), 3);
    close();
    std::vector<float> nll(3);
    model.visit([&]<class P>(Decoder<P>& decoder) {
      if constexpr (std::is_same_v<typename P::real, float>) {
        IncrementalDecoder<P> incremental(decoder);
        KvPool<P> pool(config_, memory);
        KvSequence<P> past(pool);
        const std::vector<int32_t> tokens = {5, 9, 12}, targets = {9, 12, 7};
        std::vector<int32_t> argmax(3);
        const NewTokens<P> request{tokens, &past};
        incremental.score(incremental.run({&request, 1}), targets, nll, argmax);
      }
    });
    return nll;
  };
  const std::vector<float> expected = scores(host_memory(), [] {});
  OnTheGrid grid;
  EXPECT_LE(distance(scores(grid.memory(), [&] { grid.close(); }), expected), 2e-5);
}

constexpr test::ModelCase kModelCases[] = {
    {"dense", [](ModelConfig&, DecoderOptions&) {}},
    {"learned", [](ModelConfig& config,
                   DecoderOptions& options) { config.positions = Positions::kLearned, options.recompute = true; }},
    {"moe", [](ModelConfig& config, DecoderOptions&) { config.moe.num_experts = 4; }},
    {"capacity",
     [](ModelConfig& config, DecoderOptions& options) {
       config.moe.num_experts = 4, config.moe.every = 2, config.moe.capacity = Capacity::kFairseq;
       config.moe.second_choice = SecondChoice::kSampling, config.moe.pad_mask = true, options.recompute = true;
       config.moe.batch_prioritized = true;
     }},
    {"sigmoid",
     [](ModelConfig& config, DecoderOptions&) {
       config.moe.num_experts = 8, config.moe.score = RouterScore::kSigmoid, config.moe.balance_bias = true;
       config.moe.groups = 4, config.moe.groups_kept = 2, config.moe.balance_choices = BalanceChoices::kAll;
       config.moe.balance_over = BalanceOver::kUpdate, config.moe.input_jitter = 0.1;
     }},
    {"hash",
     [](ModelConfig& config, DecoderOptions& options) {
       config.moe.num_experts = 4, config.moe.router = RouterKind::kHash, options.recompute = true;
     }},
    {"expert_choice",
     [](ModelConfig& config, DecoderOptions&) {
       config.moe.num_experts = 4, config.moe.router = RouterKind::kExpertChoice;
       config.moe.normalize = Normalize::kNever, config.moe.router_precision = RouterOperand::kModel;
     }},
    {"qwen3", [](ModelConfig& config, DecoderOptions&) { test::qwen3_facts(config), config.moe.num_experts = 4; }},
    {"olmo2", [](ModelConfig& config, DecoderOptions&) { test::olmo2_facts(config), config.moe.num_experts = 4; }},
    {"granite",
     [](ModelConfig& config, DecoderOptions&) {
       test::granite_facts(config), config.logit_cap = 5.0;
       config.moe.num_experts = 4, config.moe.router_z_loss = 1e-2;
     }},
    {"neox", [](ModelConfig& config, DecoderOptions& options) {
       test::gpt_neox_facts(config), config.rope.scaling = RopeScaling::kDynamic, options.recompute = true;
     }}};

INSTANTIATE_TEST_SUITE_P(Models, EmulatedGrid,
                         testing::Combine(testing::ValuesIn(kModelCases),
                                          testing::Values(Precision::kFp32, Precision::kBf16)),
                         [](const auto& info) {
                           return std::string(std::get<0>(info.param).name) + "_" + to_string(std::get<1>(info.param));
                         });

// Matrices of layers and experts, tall and wide, moved by Muon.
class EmulatedMuon : public EmulatedGrid {};

TEST_P(EmulatedMuon, MovesMatricesAsTheProcessorDoes) {
  optimizer_.matrices = MatrixOptimizer::kMuon;
  const Outcome expected = outcome(host_memory(), [] {}), actual = on_the_grid();
  const double tolerance = std::get<1>(GetParam()) == Precision::kFp32 ? 2e-5 : 2e-2;
  EXPECT_LE(distance(actual.weights, expected.weights), tolerance);
  EXPECT_LE(distance(actual.nll, expected.nll), tolerance);
  EXPECT_EQ(on_the_grid(true).weights, actual.weights);
}

constexpr test::ModelCase kMuonCases[] = {
    {"dense", [](ModelConfig&, DecoderOptions&) {}},
    {"qwen3", [](ModelConfig& config, DecoderOptions&) { test::qwen3_facts(config), config.moe.num_experts = 4; }}};

INSTANTIATE_TEST_SUITE_P(Models, EmulatedMuon,
                         testing::Combine(testing::ValuesIn(kMuonCases),
                                          testing::Values(Precision::kFp32, Precision::kBf16)),
                         [](const auto& info) {
                           return std::string(std::get<0>(info.param).name) + "_" + to_string(std::get<1>(info.param));
                         });

// What fine-tuning does beside pretraining: texts side by side that do not see each other, and parts that stay as they
// are.
class EmulatedFinetuning : public EmulatedGrid {
 protected:
  void SetUp() override {
    EmulatedGrid::SetUp();
    config_.num_layers = 1, config_.eos_id = 2, config_.moe.num_experts = 4, config_.moe.every = 1;
    config_.moe.expert_dropout = 0.4;
  }

  Batch batch(int64_t step, int64_t micro) const override {
    std::vector<TrainingText> texts;
    for (int32_t text = 0; text < 3; ++text) {
      std::vector<int32_t> context, answer;
      for (int32_t i = 0; i < 3 + text; ++i)
        context.push_back(5 + (7 * i + 3 * text + static_cast<int32_t>(step)) % 40);
      for (int32_t i = 0; i < 1 + text % 3; ++i) answer.push_back(5 + (11 * i + text) % 40);
      texts.push_back(text_of(context, answer, config_.context));
    }
    std::vector<const TrainingText*> chosen;
    for (const TrainingText& text : texts) chosen.push_back(&text);
    Batch packed = pack(chosen, {.id = static_cast<int32_t>(config_.pad_id), .context = config_.context});
    packed.first_sequence = micro * packed.B;
    return packed;
  }

  // All is as on the processor; where experts decide (see above), in float32.
  void expect_equal() const {
    const Outcome expected = outcome(host_memory(), [] {}), actual = on_the_grid();
    const bool single = std::get<1>(GetParam()) == Precision::kFp32;
    const double tolerance = single ? 2e-5 : 2e-2;
    EXPECT_LE(distance(actual.weights, expected.weights), tolerance);
    EXPECT_LE(distance(actual.nll, expected.nll), tolerance);
    ASSERT_EQ(actual.gradient.size(), expected.gradient.size());
    ASSERT_FALSE(expected.gradient.empty());
    if (single) {
      EXPECT_LE(distance(actual.gradient, expected.gradient), tolerance);
      EXPECT_EQ(actual.loads, expected.loads);
    }
  }
};

TEST_P(EmulatedFinetuning, TrainsWhatIsNotFrozenAsTheProcessorDoes) {
  for (const Freeze freeze : {Freeze::kAllButAttention, Freeze::kAllButChosenExperts, Freeze::kExperts}) {
    if (freeze == Freeze::kExperts && std::get<1>(GetParam()) == Precision::kBf16) break;  // each takes seconds
    SCOPED_TRACE(name_of_enum(freeze));
    trained_ = trained_of(freeze, {{0, {1, 3}}});
    expect_equal();
  }
}

TEST_P(EmulatedFinetuning, TrainsAdaptersAsTheProcessorDoes) {
  lora_ = LoraOptions{.adapted = lora_targets({"q_proj", "v_proj", "up_proj", "down_proj", "experts", "router"}),
                      .rank = 2,
                      .scale = 8.0,
                      .seed = 3};
  expect_equal();
  lora_->adapted = lora_targets({"q_proj", "v_proj", "up_proj", "down_proj"}), lora_->dropout = 0.3;
  expect_equal();
}

INSTANTIATE_TEST_SUITE_P(Models, EmulatedFinetuning,
                         testing::Combine(testing::Values(test::ModelCase{"moe", [](ModelConfig&, DecoderOptions&) {}}),
                                          testing::Values(Precision::kFp32, Precision::kBf16)),
                         [](const auto& info) { return to_string(std::get<1>(info.param)); });

// What is chosen to save memory, on the grid.
class EmulatedOptimizer : public EmulatedGrid {};

TEST_P(EmulatedOptimizer, MomentsOnTheHostChangeNoBit) {
  for (const auto& [matrices, moments] :
       {std::pair{MatrixOptimizer::kAdam, Precision::kFp32}, {MatrixOptimizer::kMuon, Precision::kBf16}}) {
    optimizer_ = {.matrices = matrices, .moments = moments};
    const Outcome there = on_the_grid();
    optimizer_.offload = true;
    EXPECT_EQ(on_the_grid().weights, there.weights);
  }
}

TEST_P(EmulatedOptimizer, ReleasedGradientsChangeNoBit) {
  whole_ = true;
  const Outcome kept = on_the_grid();
  optimizer_.release_gradients = true;
  const Outcome released = on_the_grid();
  EXPECT_EQ(released.weights, kept.weights);
  EXPECT_EQ(released.losses, kept.losses);
  EXPECT_LT(released.gradient.size(), kept.gradient.size());
}

TEST_P(EmulatedOptimizer, MomentsInBf16MoveAsTheProcessorDoes) {
  const Outcome exact = on_the_grid();
  optimizer_.moments = Precision::kBf16;
  const Outcome expected = outcome(host_memory(), [] {}), actual = on_the_grid();
  EXPECT_LE(distance(actual.weights, expected.weights), 2e-5);
  EXPECT_EQ(on_the_grid(true).weights, actual.weights);
  EXPECT_NE(actual.weights, exact.weights);
  EXPECT_LE(distance(actual.weights, exact.weights), 1e-3);
}

INSTANTIATE_TEST_SUITE_P(Models, EmulatedOptimizer,
                         testing::Combine(testing::ValuesIn(kMuonCases), testing::Values(Precision::kFp32)),
                         [](const auto& info) { return std::string(std::get<0>(info.param).name); });

}  // namespace
}  // namespace troupe
