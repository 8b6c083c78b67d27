// The whole decoder in double: every parameter's gradient against central differences, dense and sparse.
#include "model/decoder.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "facts.h"
#include "gradient.h"
#include "model/decoder_parameters.h"

namespace troupe {
namespace {

ModelConfig small() {
  ModelConfig config;
  config.num_layers = 2, config.d_model = 8, config.num_heads = 2, config.d_ff = 12, config.vocab_size = 11;
  config.context = 6, config.pad_id = 1, config.eos_id = 2;
  return config;
}

ModelConfig sparse(int64_t experts, int64_t top_k) {
  ModelConfig config = small();
  config.moe.num_experts = experts, config.moe.top_k = top_k, config.moe.every = 2, config.moe.expert_d_ff = 10;
  config.moe.aux_loss_weight = 0.3;
  return config;
}

struct Case {
  std::string name;
  ModelConfig config;
  bool padded = false;
  bool recompute = false;
  double z_loss = 0.0;
};

std::vector<Case> cases() {
  std::vector<Case> all;
  all.push_back({"Dense", small()});
  all.push_back({"DenseRecomputed", small(), false, true});
  all.push_back({"DensePadded", small(), true});
  all.push_back({"DenseLearnedPositions", small(), true});
  all.back().config.positions = Positions::kLearned;
  all.push_back({"DenseTanhDropout", small()});
  all.back().config.gelu = Gelu::kTanh;
  all.back().config.dropout = 0.3, all.back().config.attention_dropout = 0.2;
  all.push_back({"Top2Dropless", sparse(4, 2)});
  all.push_back({"Top2DroplessPaddedDropoutRecomputed", sparse(4, 2), true, true});
  all.back().config.dropout = 0.3;
  all.push_back({"Top2DropoutOfExpertsAlone", sparse(4, 2)});
  all.back().config.moe.expert_dropout = 0.4;
  all.push_back({"Top2FairseqCapacity", sparse(4, 2), true});
  all.back().config.moe.capacity = Capacity::kFairseq;
  all.push_back({"Top2FairseqCapacityPadMask", sparse(4, 2), true});
  all.back().config.moe.capacity = Capacity::kFairseq, all.back().config.moe.pad_mask = true;
  all.push_back({"Top2NormalizedBeforeDropping", sparse(4, 2)});
  all.back().config.moe.capacity = Capacity::kFairseq, all.back().config.moe.normalize = Normalize::kBeforeDropping;
  all.push_back({"Top2PrioritizedGroupsAverage", sparse(3, 2)});
  all.back().config.moe.capacity = Capacity::kFairseq, all.back().config.moe.batch_prioritized = true;
  all.back().config.moe.group_sequences = 1, all.back().config.moe.aux_combine = AuxCombine::kAverage;
  all.back().config.moe.every = 1;
  all.push_back({"Top1Switch", sparse(3, 1)});
  all.back().config.moe.normalize = Normalize::kNever, all.back().config.moe.capacity = Capacity::kFairseq;
  all.push_back({"Top3Dropless", sparse(5, 3)});
  all.push_back({"MoreExpertsThanTokens", sparse(24, 2)});
  all.push_back({"OneExpert", sparse(1, 1)});

  // Facts of other families, each with a sparse case of its own where a block takes another way.
  const auto add = [&](const std::string& name, ModelConfig config, const auto& change, bool padded = false,
                       bool recompute = false) {
    change(config);
    all.push_back({name, config, padded, recompute});
  };
  const auto llama = [](ModelConfig& c) { c.num_heads = 4, test::llama_facts(c); };
  add("Llama", small(), llama);
  add("LlamaPaddedDropoutRecomputed", small(), [&](ModelConfig& c) { llama(c), c.dropout = 0.3; }, true, true);
  add("HeadDimWindowBiases", small(), [&](ModelConfig& c) {
    llama(c), c.head_dim = 6, c.qkv_bias = c.out_bias = c.ffn_bias = true, c.window = 2, c.window_from = 1;
  });
  add("QkNormOfHeads", small(), [&](ModelConfig& c) { llama(c), c.qk_norm = QkNorm::kHead, c.head_dim = 4; });
  add("NormAfterQkNormWhole", small(), [&](ModelConfig& c) {
    llama(c), c.qk_norm = QkNorm::kWhole, c.norm_place = NormPlace::kAfter, c.dropout = 0.2;
  });
  add("NormAfterRecomputed", small(), [&](ModelConfig& c) { c.norm_place = NormPlace::kAfter; }, true, true);
  add("ParallelPartlyRotary", small(), [&](ModelConfig& c) {
    c.positions = Positions::kRotary, c.rope.part = 0.5, c.parallel_block = true, c.tied_output = false;
  });
  add("ParallelRecomputedDropout", small(), [&](ModelConfig& c) { c.parallel_block = true, c.dropout = 0.3; }, false,
      true);
  add(
      "ParallelSharedNormOutputBias", small(),
      [&](ModelConfig& c) {
        c.parallel_block = c.shared_norm = c.output_bias = true, c.tied_output = false, c.logit_cap = 0.8,
        c.dropout = 0.3;
      },
      true, true);
  add("TiedOutputBiasDivided", small(), [&](ModelConfig& c) { c.output_bias = true, c.logit_divisor = 2.5; });
  add("ExpertsParallelSharedNorm", sparse(4, 2), [&](ModelConfig& c) { c.parallel_block = c.shared_norm = true; });
  add("Multipliers", small(), [&](ModelConfig& c) {
    llama(c), c.embedding_multiplier = 3.0, c.residual_multiplier = 0.4, c.attention_multiplier = 0.7;
    c.logit_divisor = 2.5, c.dropout = 0.2;
  });
  add("ResidualMultiplierWithoutDropout", small(), [&](ModelConfig& c) { llama(c), c.residual_multiplier = 0.4; });
  add("Relu2NoNormBias", small(), [](ModelConfig& c) { c.activation = FfnActivation::kRelu2, c.norm_bias = false; });
  add("YarnFactorOnQueriesAndKeys", small(), [&](ModelConfig& c) {
    llama(c), c.rope.scaling = RopeScaling::kYarn, c.rope.factor = 4.0, c.rope.original_context = 4;
  });
  add("CappedLogits", small(), [](ModelConfig& c) { c.logit_cap = 0.8; });
  add("CappedDividedLogitsPenalised", small(), [&](ModelConfig& c) {
    llama(c), c.logit_cap = 0.8, c.logit_divisor = 0.7;
  }, true);
  all.back().z_loss = 0.2;
  add("PenaltiesOnLogitsAndRouter", sparse(4, 2), [](ModelConfig& c) { c.moe.router_z_loss = 0.5; }, true, true);
  all.back().z_loss = 0.2;
  const auto gated_experts = [&](ModelConfig& c) { llama(c), c.moe.normalize = Normalize::kNever; };
  add("Top3GatedExperts", sparse(5, 3), gated_experts);
  add("GatedExpertsMultipliersDropout", sparse(4, 2), [&](ModelConfig& c) {
    gated_experts(c), c.residual_multiplier = 0.4, c.dropout = 0.2, c.moe.normalize = Normalize::kBeforeDropping;
  });
  add("SharedExpert", sparse(4, 2), [&](ModelConfig& c) { c.moe.shared_d_ff = 6, c.dropout = 0.2; }, true);
  add("SharedGatedExpert", sparse(4, 2), [&](ModelConfig& c) {
    gated_experts(c), c.moe.shared_d_ff = 6, c.moe.shared_gate = true, c.residual_multiplier = 0.5;
  }, false, true);
  add("SharedExpertNormAfter", sparse(4, 2), [&](ModelConfig& c) {
    c.norm_place = NormPlace::kAfter, c.moe.shared_d_ff = 6, c.moe.shared_gate = true;
  });
  add("SigmoidBiasGroups", sparse(6, 2), [](ModelConfig& c) {
    c.moe.score = RouterScore::kSigmoid, c.moe.balance_bias = true, c.moe.groups = 3, c.moe.groups_kept = 2;
    c.moe.output_scale = 2.5, c.moe.balance_choices = BalanceChoices::kAll;
  }, true);
  add("HashRecomputed", sparse(6, 2), [](ModelConfig& c) { c.moe.router = RouterKind::kHash; }, true, true);
  add("ExpertChoice", sparse(4, 2), [](ModelConfig& c) {
    c.moe.router = RouterKind::kExpertChoice, c.moe.normalize = Normalize::kNever, c.dropout = 0.2;
  }, true);
  add("JitterSharedGateRecomputed", sparse(4, 2), [](ModelConfig& c) {
    c.moe.input_jitter = 0.2, c.moe.shared_d_ff = 6, c.moe.shared_gate = true;
  }, true, true);
  add("RouterOfOperands", sparse(4, 2), [](ModelConfig& c) { c.moe.router_precision = RouterOperand::kModel; });
  add("ExpertsNormAfter", sparse(4, 2), [&](ModelConfig& c) { llama(c), c.norm_place = NormPlace::kAfter; });
  add("ExpertsParallelRecomputed", sparse(4, 2), [&](ModelConfig& c) { c.parallel_block = true; }, true, true);
  add("ExpertsAfterAFirstDenseLayer", sparse(4, 2), [&](ModelConfig& c) { c.moe.every = 1, c.moe.first_layer = 1; });
  return all;
}

Batch batch_for(const ModelConfig& config, bool padded) {
  Batch batch;
  batch.B = 2, batch.S = 5, batch.first_sequence = 3;
  Rng rng(7);
  for (int64_t i = 0; i < batch.tokens(); ++i) {
    batch.src.push_back(static_cast<int32_t>(3 + rng.below(config.vocab_size - 3)));
    batch.tgt.push_back(static_cast<int32_t>(2 + rng.below(config.vocab_size - 2)));
  }
  batch.tgt[1] = -1;
  if (padded) batch.src[8] = batch.src[9] = batch.tgt[8] = batch.tgt[9] = 1;
  return batch;
}

void PrintTo(const Case& value, std::ostream* out) { *out << value.name; }

class DecoderGradient : public testing::TestWithParam<Case> {};

TEST_P(DecoderGradient, MatchesCentralDifferences) {
  const ModelConfig& config = GetParam().config;
  const ParameterTable table = make_parameter_table(config);
  ParameterStore<double> params(table), grads(table), ignored(table);
  initialize(params, 5);
  Rng rng(6);
  for (double& value : params.all()) value += 0.1 * rng.normal();  // norms off 1 and 0, pad rows off 0

  Decoder<F64> decoder(config, params, {.recompute = GetParam().recompute});
  const Batch batch = batch_for(config, GetParam().padded);
  RunMode mode;
  mode.key = 99, mode.z_loss = GetParam().z_loss;
  const auto loss = [&] { return decoder.forward_backward(batch, mode, ignored).total; };
  const LossSum sums = decoder.forward_backward(batch, mode, grads);
  EXPECT_GT(sums.nll, 0.0);
  if (config.moe.capacity == Capacity::kFairseq) {
    EXPECT_GT(sums.dropped, 0);
  }
  for (const Parameter& parameter : table.entries()) {
    if (!parameter.trainable()) continue;
    SCOPED_TRACE(parameter.name);
    // Softmax is shift-invariant: the true gradient is zero, and both sides are rounding.
    const bool shifts = config.positions != Positions::kRotary && config.qk_norm == QkNorm::kNone;
    if (shifts && parameter.name.ends_with("k_proj.bias")) {
      for (const double value : grads.at(parameter.slot)) EXPECT_NEAR(value, 0.0, 1e-12);
      continue;
    }
    // The pad row's input side gets no gradient by definition (nn.Embedding's padding_idx), although pads are routed.
    const bool pad_row = GetParam().padded && parameter.name == "embed_tokens.weight";
    const size_t skipped = pad_row ? static_cast<size_t>(2 * config.d_model) : 0;
    test::expect_gradient(loss, params.at(parameter.slot).subspan(skipped), grads.at(parameter.slot).subspan(skipped),
                          {.step = 1e-5, .rtol = 2e-6});
  }
}

INSTANTIATE_TEST_SUITE_P(Decoder, DecoderGradient, testing::ValuesIn(cases()),
                         [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace troupe
