#include "study/cost.h"

#include <gtest/gtest.h>

#include "facts.h"
#include "model/decoder.h"
#include "model/decoder_parameters.h"
#include "study/memory.h"
#include "train/freeze.h"
#include "train/trainer.h"
#include "troupe/error.h"

namespace troupe {
namespace {

TEST(PaperTable, HasTenModelsAndEightOfGpt3AndAllAgree) {
  const std::vector<PaperRow> rows = paper_table();
  ASSERT_EQ(rows.size(), 18u);
  for (const PaperRow& row : rows) {
    EXPECT_EQ(row.zflops, row.preset->published_zflops) << row.preset->name;
    EXPECT_TRUE(row.equal()) << row.preset->name << ": " << row.params;
  }
}

TEST(PaperTable, PrintsLikeThePaper) {
  EXPECT_EQ(as_printed("14.6B", 14605713408.0), "14.6B");
  EXPECT_EQ(as_printed("1104B", 1104219021312.0), "1104B");
  EXPECT_EQ(as_printed("760M", 758602752.0), "759M");
  EXPECT_EQ(as_printed("22.273", 22.2729732096), "22.273");
}

TEST(Cost, FollowsTheFormulasByHand) {
  // 96 T l h^2 (1 + s/(6h) + V/(16 l h)) + 32 T l h^2 with T = 1e9, l = 12, h = 768, s = 1024, V = 50,000.
  const double l = 12, h = 768;
  const Cost cost = cost_of(make_config(find_preset("moe-15b")), 1e9, 1024, paper_rule());
  EXPECT_DOUBLE_EQ(cost.train_flops,
                   1e9 * (96 * l * h * h * (1 + 1024 / (6 * h) + 50000 / (16 * l * h)) + 32 * l * h * h));
  EXPECT_DOUBLE_EQ(cost.flops_per_token * 1e9, cost.train_flops);
  EXPECT_EQ(cost.params_total, 14'605'713'408);
  EXPECT_EQ(cost.params_experts, int64_t{6} * 512 * (8 * 768 * 768 + 5 * 768));
}

TEST(Cost, CountsWhatTheTableLists) {
  for (const int64_t experts : {0, 1, 4, 33})
    for (const int64_t every : {1, 2, 3})
      for (const Positions positions : {Positions::kSinusoidal, Positions::kLearned}) {
        ModelConfig config;
        config.num_layers = 5, config.d_model = 12, config.num_heads = 3, config.d_ff = 20, config.vocab_size = 31;
        config.positions = positions;
        config.moe.num_experts = experts, config.moe.every = every, config.moe.expert_d_ff = 7;
        int64_t total = 0, in_experts = 0;
        for (const Parameter& parameter : make_parameter_table(config).entries()) {
          total += parameter.size();
          if (parameter.role == Role::kExpert) in_experts += parameter.size();
        }
        const Cost cost = cost_of(config, 1.0, 8, FlopsRule{});
        EXPECT_EQ(cost.params_total, total) << experts << " every " << every;
        EXPECT_EQ(cost.params_experts, in_experts) << experts << " every " << every;
      }
}

TEST(Cost, OfTheLargestNumberOfExpertsNamesNone) {  // their names alone would take some 100 GB
  ModelConfig config;
  config.num_layers = 4096, config.d_model = 4, config.num_heads = 1, config.d_ff = 4;
  config.moe.num_experts = 65536, config.moe.every = 1;
  const Cost cost = cost_of(config, 1.0, 8, FlopsRule{});
  EXPECT_EQ(cost.params_experts, int64_t{4096} * 65536 * (2 * 4 * 4 + 4 + 4));
  EXPECT_EQ(estimate_memory(config, 1, 8, Precision::kFp32).optimizer.experts, 8 * cost.params_experts);
}

template <class P>
void expect_arena_as_estimated(const ModelConfig& config, Precision precision) {
  const int64_t B = 2, S = 24;
  const MemoryEstimate memory = estimate_memory(config, B, S, precision);
  const ParameterTable table = make_parameter_table(config);
  ParameterStore<float> params(table), grads(table);
  initialize(params, 1);
  for (const bool recompute : {false, true}) {
    Decoder<P> decoder(config, params, {.recompute = recompute});
    Batch batch{.B = B, .S = S, .src = std::vector<int32_t>(B * S, 3), .tgt = std::vector<int32_t>(B * S, 4)};
    decoder.forward_backward(batch, RunMode{}, grads);
    EXPECT_EQ(recompute ? memory.activations_recompute : memory.activations, decoder.arena().bytes());
  }
}

TEST(MemoryEstimate, IsTheArenaOfTheDecoder) {
  ModelConfig config;
  config.d_model = 32, config.num_heads = 2, config.d_ff = 128, config.vocab_size = 64, config.context = 32;
  expect_arena_as_estimated<F32>(config, Precision::kFp32);
  config.moe.num_experts = 4;
  expect_arena_as_estimated<F32>(config, Precision::kFp32);
  expect_arena_as_estimated<Bf16>(config, Precision::kBf16);
  config.moe.every = 1;
  expect_arena_as_estimated<F32>(config, Precision::kFp32);
  for (const auto change : {test::llama_facts, test::qwen3_facts, test::olmo2_facts, test::gpt_neox_facts})
    for (const int64_t experts : {0, 4}) {
      ModelConfig other = config;
      other.moe.num_experts = experts, other.moe.shared_d_ff = 12, change(other);
      expect_arena_as_estimated<F32>(other, Precision::kFp32);
      expect_arena_as_estimated<Bf16>(other, Precision::kBf16);
    }
}

// Llama 2 7B: 6,738,415,616 parameters (Touvron et al. 2023); two products of 6 matrices' worth a token and layer.
TEST(Cost, OfLlama2) {
  ModelConfig config;
  config.num_layers = 32, config.d_model = 4096, config.num_heads = 32, config.d_ff = 11008, config.vocab_size = 32000;
  test::llama_facts(config);
  config.kv_heads = 0;
  const Cost cost = cost_of(config, 1.0, 4096, FlopsRule{});
  EXPECT_EQ(cost.params_total, 6'738'415'616);
  EXPECT_EQ(cost.forward.dense_ffn, 6.0 * 32 * 4096 * 11008);
  EXPECT_EQ(cost.forward.projections, 8.0 * 32 * 4096 * 4096);
  config.kv_heads = 8, config.window = 1024, config.window_from = 16;
  const ForwardFlops grouped = cost_of(config, 1.0, 4096, FlopsRule{}).forward;
  EXPECT_EQ(grouped.projections, 2.0 * 32 * 4096 * (2 * 4096 + 2 * 1024));
  EXPECT_EQ(grouped.attention, 4.0 * 4096 * 16 * (4096 + 1024));
}

TEST(MemoryEstimate, OfAnUntiedOutput) {
  ModelConfig config;
  const MemoryEstimate tied = estimate_memory(config, 1, 256, Precision::kBf16);
  config.tied_output = false;
  const MemoryEstimate untied = estimate_memory(config, 1, 256, Precision::kBf16);
  EXPECT_EQ(untied.weights.total - tied.weights.total, 4 * 4096 * 192);
  EXPECT_EQ(untied.packed.total, tied.packed.total);        // one output either way,
  EXPECT_EQ(untied.inference.total, tied.inference.total);  // and one table to look up
}

TEST(MemoryEstimate, CountsStoresByHand) {
  ModelConfig config;  // dense: V 4,096, D 192, F 768, 4 layers
  const int64_t matrices = 4096 * 192 + 4 * (4 * 192 * 192 + 2 * 192 * 768);
  const int64_t vectors = 4 * (4 * 192 + 768 + 192 + 4 * 192) + 2 * 192;
  const MemoryEstimate memory = estimate_memory(config, 1, 256, Precision::kBf16);
  EXPECT_EQ(memory.weights.total, 4 * (matrices + vectors));
  EXPECT_EQ(memory.gradients.total, memory.weights.total);
  EXPECT_EQ(memory.optimizer.total, 2 * memory.weights.total);
  EXPECT_EQ(memory.packed.total, 4 * matrices);
  EXPECT_EQ(memory.inference.total, 2 * matrices + 4 * (4096 * 192 + vectors));  // token embeddings in both
  EXPECT_EQ(memory.weights.experts, 0);
  EXPECT_EQ(estimate_memory(config, 1, 256, Precision::kFp32).packed.total, 0);
  EXPECT_EQ(estimate_memory(config, 1, 256, Precision::kFp32).inference.total, memory.weights.total);
  EXPECT_LT(memory.activations_recompute, memory.activations);
}

// What `bench step` held of an H200 (bf16, 2,048 positions), the whole of it; of which libraries' part is a guess.
TEST(MemoryEstimate, OfAGpuIsWhatOneHeld) {
  use_device(Device::kCuda);
  for (const auto& [layers, width, experts, sequences, held] : {std::tuple{12, 768, 0, 16, 15'076'040'704},
                                                                {12, 768, 8, 16, 24'172'401'280},
                                                                {12, 768, 64, 16, 52'789'242'624},
                                                                {24, 2048, 0, 8, 55'259'083'008},
                                                                {24, 2048, 8, 4, 97'870'275'200}}) {
    ModelConfig config;
    config.num_layers = layers, config.d_model = width, config.num_heads = width / 64, config.d_ff = 4 * width;
    config.vocab_size = 50257, config.context = 2048, config.moe.num_experts = experts;
    const MemoryEstimate memory = estimate_memory(config, sequences, 2048, Precision::kBf16);
    EXPECT_NEAR(static_cast<double>(memory.total(false)), static_cast<double>(held), 0.01 * held) << layers << experts;
    // Attention works where logits were.
    EXPECT_NEAR(static_cast<double>(memory.workspaces + memory.libraries), 1.11e9, 0.05e9);
  }
  use_device(Device::kCpu);
}

// The parts of the same, as `bench step --json` says them.
TEST(MemoryEstimate, PartsOnAGpuAreWhatOneHeld) {
  use_device(Device::kCuda);
  struct Held {
    int64_t layers, width, experts;
    double arena, stores, workspaces;
  };
  for (const auto& [layers, width, experts, arena, stores, workspaces] : {Held{12, 768, 0, 11.703e9, 2.232e9, 1.111e9},
                                                                          {12, 768, 8, 17.258e9, 5.803e9, 1.112e9},
                                                                          {24, 1024, 0, 30.129e9, 6.777e9, 1.113e9},
                                                                          {24, 1024, 8, 43.988e9, 19.468e9, 1.113e9}}) {
    ModelConfig config;
    config.num_layers = layers, config.d_model = width, config.num_heads = width / 64, config.d_ff = 4 * width;
    config.vocab_size = 50257, config.context = 2048, config.moe.num_experts = experts;
    const MemoryEstimate memory = estimate_memory(config, 16, 2048, Precision::kBf16);
    const auto of_stores = static_cast<double>(memory.weights.total + memory.gradients.total + memory.optimizer.total +
                                               memory.packed.total);
    EXPECT_NEAR(static_cast<double>(memory.activations), arena, 0.01 * arena) << layers << ", " << experts;
    // What is held at most less the other parts: at width 1,024 there was 0.41 GB more for a moment.
    EXPECT_NEAR(of_stores + (width == 1024 ? 0.41e9 : 0.0), stores, 0.01 * stores) << layers << ", " << experts;
    EXPECT_NEAR(static_cast<double>(memory.workspaces + memory.libraries), workspaces, 0.05 * workspaces);
  }
  use_device(Device::kCpu);
}

// 6.7 billion parameters on a card of 80 GB, in two ways: in updates of one micro-batch, or of many.
TEST(MemoryEstimate, OfSixtyFourExpertsFitsOneCard) {
  use_device(Device::kCuda);
  ModelConfig config;
  config.num_layers = 24, config.d_model = 1024, config.num_heads = 16, config.d_ff = 4096;
  config.vocab_size = 50257, config.context = 2048, config.moe.num_experts = 64;
  const auto recomputing = [&](const OptimizerConfig& optimizer) {
    return estimate_memory(config, 4, 2048, Precision::kBf16, optimizer);
  };
  const MemoryEstimate plain = recomputing({}),
                       released = recomputing({.moments = Precision::kBf16, .release_gradients = true}),
                       offloaded = recomputing({.offload = true});
  EXPECT_GT(plain.total(true), 120'000'000'000);
  EXPECT_EQ(released.optimizer.total, plain.optimizer.total / 2);
  EXPECT_LT(released.gradients.total, plain.gradients.total / 10);
  EXPECT_LT(released.total(true), 78'000'000'000);
  EXPECT_EQ(offloaded.offloaded.total, plain.optimizer.total);
  EXPECT_LT(offloaded.total(true), 78'000'000'000);
  use_device(Device::kCpu);
}

// One moment of the matrices of layers instead of two, and room for the largest update: [768, 192] in float32.
TEST(MemoryEstimate, UnderMuonHasOneMomentOfMatrices) {
  RunConfig run;
  run.train.precision = PrecisionChoice::kFp32;
  const MemoryEstimate adam = estimate_memory(run);
  run.train.optimizer.matrices = MatrixOptimizer::kMuon;
  const int64_t matrices = 4 * (4 * 192 * 192 + 2 * 192 * 768);
  EXPECT_EQ(estimate_memory(run).optimizer.total,
            adam.optimizer.total - 4 * matrices + 2 * 4 * (768 * 192 + 192 * 192));
  EXPECT_EQ(estimate_memory(run).weights.total, adam.weights.total);
}

// Gradients and moments are those that training holds, whatever is frozen.
TEST(MemoryEstimate, OfFineTuningHasNothingForWhatIsFrozen) {
  RunConfig run = finetune_keys();
  run.train.precision = PrecisionChoice::kFp32;
  run.model = {.num_layers = 2, .d_model = 8, .num_heads = 2, .d_ff = 12, .vocab_size = 11, .context = 8};
  run.model.moe.num_experts = 4;
  for (const Freeze freeze :
       {Freeze::kNothing, Freeze::kExperts, Freeze::kRouter, Freeze::kAllButAttention, Freeze::kAllButExperts}) {
    run.finetune->freeze = freeze;
    LanguageModel model(run.model, Precision::kFp32);
    Trainer trainer(model, Schedule({}, 10), {.trained = trained_of(freeze)}, {});
    int64_t held = 0;
    for (const Parameter& parameter : trainer.gradients().entries()) held += parameter.size();
    const MemoryEstimate memory = estimate_memory(run);
    EXPECT_EQ(memory.gradients.total, 4 * held) << name_of_enum(freeze);
    EXPECT_EQ(memory.optimizer.total, 8 * held) << name_of_enum(freeze);
    EXPECT_EQ(memory.weights.total, 4 * model.table().num_parameters());
  }
}

// With adapters: theirs, also scaled and A's turned, and a copy of what they adapt.
TEST(MemoryEstimate, OfAdaptersIsThatOfTheirMatrices) {
  RunConfig run = finetune_keys();
  run.train.precision = PrecisionChoice::kFp32;
  run.model = {.num_layers = 2, .d_model = 8, .num_heads = 2, .d_ff = 12, .vocab_size = 11, .context = 8};
  const int64_t parameters = make_parameter_table(run.model).num_parameters();
  run.finetune->lora.rank = 3;
  const MemoryEstimate memory = estimate_memory(run);
  const int64_t adapters = 2 * 2 * 3 * (8 + 8), matrix = 8 * 8;
  EXPECT_EQ(memory.weights.total, 4 * (parameters + 2 * 2 * matrix + 2 * adapters + adapters / 2));
  EXPECT_EQ(memory.gradients.total, 4 * adapters);
  EXPECT_EQ(memory.optimizer.total, 8 * adapters);
  // With a dropout the copy is of queries, keys and values, and products work in sums of 24 columns, inputs of 8 and
  // two results of the rank.
  run.finetune->lora.dropout = 0.1;
  const MemoryEstimate dropped = estimate_memory(run);
  EXPECT_EQ(dropped.weights.total, memory.weights.total + 4 * 2 * matrix);
  EXPECT_EQ(dropped.activations, memory.activations + 32 * 8 * 4 * (24 + 8 + 2 * 3));
  run.train.precision = PrecisionChoice::kBf16;
  const int64_t packed = estimate_memory(run).packed.total;
  run.finetune->lora.dropout = 0.0;
  EXPECT_EQ(packed, estimate_memory(run).packed.total + 2 * 2 * 3 * matrix);
}

TEST(MemoryEstimate, OfARunIsThatOfItsMicroBatchAndPrecision) {
  RunConfig run;
  run.train.batch_sequences = 8;
  run.train.precision = PrecisionChoice::kFp32;
  const int64_t whole = estimate_memory(run.model, 8, run.model.context, Precision::kFp32).total(false);
  EXPECT_EQ(estimate_memory(run).total(false), whole);
  run.train.micro_sequences = 2;
  EXPECT_LT(estimate_memory(run).total(false), whole);
  run.train.precision = PrecisionChoice::kBf16;
  EXPECT_GT(estimate_memory(run).packed.total, 0);
}

TEST(MemoryEstimate, ARunThatTakesMoreThanIsFreeIsRefused) {
  RunConfig run;
  run.train.precision = PrecisionChoice::kFp32;
  const MemoryEstimate memory = estimate_memory(run);
  Machine machine;
  require_memory(run, machine, "run.toml");  // the system does not say
  machine.available_bytes = memory.total(false);
  require_memory(run, machine, "run.toml");
  machine.limit_left_bytes = memory.total(false) - 1;
  try {
    require_memory(run, machine, "run.toml");
    FAIL() << "not refused";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kEnvironment);
  }
  use_device(Device::kCuda);  // it is not the memory that counts
  require_memory(run, machine, "run.toml");
  use_device(Device::kCpu);
  run.train.recompute = true;  // needs less
  require_memory(run, machine, "run.toml");
}

}  // namespace
}  // namespace troupe
