// Facts about the decoder that need no reference data.
#include "model/decoder.h"

#include <gtest/gtest.h>
#include <omp.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "model/decoder_parameters.h"
#include "model/language_model.h"
#include "troupe/error.h"

namespace troupe {
namespace {

ModelConfig small() {
  ModelConfig config;
  config.num_layers = 2, config.d_model = 32, config.num_heads = 4, config.d_ff = 48, config.vocab_size = 64;
  config.context = 16;
  return config;
}

Batch random_batch(int64_t B, int64_t S, uint64_t seed = 1) {
  Batch batch;
  batch.B = B, batch.S = S;
  Rng rng(seed);
  for (int64_t i = 0; i < B * S; ++i) {
    batch.src.push_back(static_cast<int32_t>(rng.below(64)));
    batch.tgt.push_back(static_cast<int32_t>(rng.below(64)));
  }
  return batch;
}

TEST(Decoder, OneExpertEqualsTheDenseModel) {
  const ModelConfig dense = small();
  ModelConfig sparse = small();
  sparse.moe.num_experts = 1, sparse.moe.top_k = 1;
  LanguageModel a(dense, Precision::kFp32), b(sparse, Precision::kFp32);
  initialize(a.params(), 3);
  initialize(b.params(), 3);
  for (const char* kind : {"fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias"}) {
    const auto from = a.params().at(std::string("layers.1.ffn.") + kind);
    std::copy(from.begin(), from.end(), b.params().at(std::string("layers.1.moe.experts.0.") + kind).begin());
  }
  ParameterStore<float> da(a.table()), db(b.table());
  const Batch batch = random_batch(3, 16);
  const LossSum la = a.forward_backward(batch, {}, da), lb = b.forward_backward(batch, {}, db);
  EXPECT_NEAR(la.nll, lb.nll, 1e-4);
  EXPECT_NEAR(lb.aux, static_cast<double>(lb.tokens), 1e-3);  // one expert is balanced
  for (const Parameter& parameter : a.table().entries()) {
    std::string name = parameter.name;
    if (const size_t at = name.find("1.ffn."); at != std::string::npos) name.replace(at, 6, "1.moe.experts.0.");
    const auto expected = da.at(parameter.slot), actual = db.at(name);
    for (size_t i = 0; i < expected.size(); ++i) ASSERT_NEAR(actual[i], expected[i], 2e-5) << name << " " << i;
  }
}

class Precisions : public testing::TestWithParam<Precision> {};

TEST_P(Precisions, BitsDoNotDependOnThreadsOrRecomputation) {
  ModelConfig config = small();
  config.moe.num_experts = 6, config.dropout = 0.1, config.attention_dropout = 0.1;
  const Batch batch = random_batch(5, 16);
  std::vector<std::vector<float>> gradients;
  const int kept = omp_get_max_threads();
  for (const int threads : {1, 2, 3})
    for (const bool recompute : {false, true}) {
      omp_set_num_threads(threads);
      LanguageModel model(config, GetParam(), {.recompute = recompute});
      initialize(model.params(), 3);
      ParameterStore<float> grads(model.table());
      model.forward_backward(batch, {.key = 5}, grads);
      gradients.emplace_back(grads.all().begin(), grads.all().end());
    }
  omp_set_num_threads(kept);
  for (const auto& other : gradients)
    EXPECT_EQ(std::memcmp(other.data(), gradients[0].data(), other.size() * sizeof(float)), 0);
}

// Nobody says that weights changed: what is packed from them is made again for the next product, in both directions.
TEST_P(Precisions, ProductsAreOfTheWeightsOfNow) {
  ModelConfig config = small();
  config.moe.num_experts = 6;
  const Batch batch = random_batch(3, 16);
  LanguageModel used(config, GetParam()), fresh(config, GetParam());
  ParameterStore<float> before(used.table()), after(used.table()), expected(used.table());
  initialize(used.params(), 3);
  used.forward_backward(batch, {}, before);
  for (LanguageModel* const model : {&used, &fresh}) {
    initialize(model->params(), 4);
    for (const char* name : {"embed_tokens.weight", "layers.0.ffn.fc2.weight", "layers.1.moe.experts.3.fc1.weight"})
      for (float& value : model->params().at(name)) value *= 1.5f;
  }
  const LossSum now = used.forward_backward(batch, {}, after), once = fresh.forward_backward(batch, {}, expected);
  EXPECT_EQ(now.total, once.total);
  EXPECT_TRUE(std::ranges::equal(after.all(), expected.all()));
  EXPECT_FALSE(std::ranges::equal(after.all(), before.all()));
}

TEST_P(Precisions, SequencesDoNotSeeEachOtherNorTheFuture) {
  ModelConfig config = small();
  config.moe.num_experts = 6;
  LanguageModel model(config, GetParam());
  initialize(model.params(), 3);
  Batch batch = random_batch(2, 16);
  std::vector<float> before(32), after(32);
  model.score(batch, {}, before);
  batch.src[5] = (batch.src[5] + 1) % 64;
  model.score(batch, {}, after);
  for (size_t t = 0; t < 32; ++t) {
    if (t < 5 || t >= 16) {
      EXPECT_EQ(after[t], before[t]) << t;
    }
  }
  EXPECT_NE(after[5], before[5]);
}

// Microscopic batches add up: the gradient of a batch is the sum over its halves (dropless, sums of losses).
TEST_P(Precisions, GradientsAccumulateOverMicroBatches) {
  ModelConfig config = small();
  config.moe.num_experts = 6, config.moe.aux_loss_weight = 0.0, config.dropout = 0.2;
  LanguageModel model(config, GetParam());
  initialize(model.params(), 3);
  const Batch whole = random_batch(4, 16);
  ParameterStore<float> expected(model.table()), actual(model.table());
  model.forward_backward(whole, {.key = 8}, expected);
  for (int64_t half = 0; half < 2; ++half) {
    Batch part;
    part.B = 2, part.S = 16, part.first_sequence = 2 * half;
    part.src.assign(whole.src.begin() + half * 32, whole.src.begin() + (half + 1) * 32);
    part.tgt.assign(whole.tgt.begin() + half * 32, whole.tgt.begin() + (half + 1) * 32);
    model.forward_backward(part, {.key = 8}, actual);
  }
  const double tolerance = GetParam() == Precision::kFp32 ? 1e-5 : 2e-2;
  for (int64_t i = 0; i < static_cast<int64_t>(expected.all().size()); ++i)
    ASSERT_NEAR(actual.all()[i], expected.all()[i], tolerance) << i;
}

INSTANTIATE_TEST_SUITE_P(All, Precisions, testing::Values(Precision::kFp32, Precision::kBf16),
                         [](const auto& info) { return info.param == Precision::kFp32 ? "Fp32" : "Bf16"; });

TEST(Decoder, DenseAndSparseTwinsStartEqual) {
  ModelConfig sparse = small();
  sparse.moe.num_experts = 4;
  LanguageModel a(small(), Precision::kFp32), b(sparse, Precision::kFp32);
  initialize(a.params(), 11);
  initialize(b.params(), 11);
  for (const char* name : {"embed_tokens.weight", "layers.0.ffn.fc1.weight", "layers.1.attn.q_proj.weight"})
    EXPECT_TRUE(std::ranges::equal(a.params().at(name), b.params().at(name))) << name;
}

// Experts may drop more or less than the rest, in training alone.
TEST(Decoder, ExpertsHaveADropoutOfTheirOwn) {
  const auto losses = [](double dropout, double of_experts) {
    ModelConfig config{.num_layers = 1, .d_model = 32, .num_heads = 4, .d_ff = 48, .vocab_size = 64, .context = 20};
    config.moe.num_experts = 4, config.moe.every = 1, config.moe.expert_dropout = of_experts, config.dropout = dropout;
    const ParameterTable table = make_parameter_table(config);
    ParameterStore<float> params(table), grads(table);
    initialize(params, 3);
    Decoder<F32> decoder(config, params);
    const std::vector<int32_t> ids = {9, 8, 7, 2, 5, 6};
    const Batch batch{.B = 1, .S = 6, .src = ids, .tgt = ids};
    RunMode mode;
    mode.key = 5;
    return std::pair(decoder.forward_backward(batch, mode, grads).nll, decoder.score(batch, {}).nll);
  };
  EXPECT_EQ(losses(0.0, -1.0), losses(0.0, 0.0));
  EXPECT_EQ(losses(0.3, -1.0), losses(0.3, 0.3));
  EXPECT_NE(losses(0.0, 0.4).first, losses(0.0, -1.0).first);
  EXPECT_NE(losses(0.3, 0.0).first, losses(0.3, -1.0).first);
  EXPECT_EQ(losses(0.0, 0.4).second, losses(0.3, -1.0).second);
}

// Who is chosen knows neither the next token nor later ones, whatever the router: what a token scores as follows from the
// tokens up to it, and the scores that the 64 tokens would have in one place are those of probabilities.
TEST(Decoder, RoutersKnowNothingOfWhatIsPredicted) {
  for (const bool hash : {false, true})
    for (const bool scored : {false, true}) {
      if (hash && scored) continue;
      SCOPED_TRACE(hash ? "hash" : scored ? "sigmoids, biases and groups" : "top-k");
      ModelConfig config = small();
      config.moe.num_experts = 6, config.moe.every = 1;
      if (hash) config.moe.router = RouterKind::kHash;
      if (scored) {
        config.moe.score = RouterScore::kSigmoid, config.moe.balance_bias = true;
        config.moe.groups = 3, config.moe.groups_kept = 2;
      }
      LanguageModel model(config, Precision::kFp32);
      initialize(model.params(), 3);
      const Batch batch = random_batch(2, 16);
      std::vector<float> before(32), after(32);
      model.score(batch, {}, before);
      std::vector<double> sums(32);
      for (int32_t next = 0; next < 64; ++next) {
        Batch other = batch;
        std::ranges::fill(other.tgt, next);
        model.score(other, {}, after);
        for (size_t t = 0; t < 32; ++t) sums[t] += std::exp(-static_cast<double>(after[t]));
      }
      for (const double sum : sums) EXPECT_NEAR(sum, 1.0, 1e-4);
      Batch later = batch;
      for (size_t t = 5; t < 16; ++t) later.src[t] = (later.src[t] + 7) % 64, later.tgt[t] = (later.tgt[t] + 9) % 64;
      model.score(later, {}, after);
      for (size_t t = 0; t < 32; ++t)
        if (t < 5 || t >= 16) {
          EXPECT_EQ(after[t], before[t]) << t;
        }
    }
}

TEST(Decoder, RefusesIdsOutsideTheVocabulary) {
  LanguageModel model(small(), Precision::kFp32);
  Batch batch = random_batch(1, 4);
  batch.src[2] = 64;
  try {
    model.score(batch, {});
    FAIL();
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "batch: token 2 of sequence 0: expected an id in [0, 64), got 64");
  }
}

// Packed texts that do not see each other score as each by itself, wherever positions come from.
TEST(Decoder, KeepsPackedTextsApart) {
  for (const Positions positions : {Positions::kSinusoidal, Positions::kLearned, Positions::kRotary}) {
    ModelConfig config;
    config.num_layers = 2, config.d_model = 32, config.num_heads = 4, config.d_ff = 48, config.vocab_size = 64;
    config.context = 20, config.positions = positions, config.eos_id = 2;
    const ParameterTable table = make_parameter_table(config);
    ParameterStore<float> params(table), grads(table);
    initialize(params, 3);
    Decoder<F32> decoder(config, params);
    const std::vector<int32_t> src = {9, 8, 7, 2, 5, 6, 2, 2, 11, 12, 13, 14}, tgt = {8, 7, 2, 5, 6, 2, 2, 11, 12, 13, 14, 2};
    std::vector<float> apart(12), together(12), alone;
    decoder.score({.B = 1, .S = 12, .src = src, .tgt = tgt, .texts_apart = true}, {}, apart);
    decoder.score({.B = 1, .S = 12, .src = src, .tgt = tgt}, {}, together);
    for (const auto& [begin, end] : {std::pair{0, 3}, {3, 6}, {6, 7}, {7, 12}}) {
      std::vector<float> nll(static_cast<size_t>(end - begin));
      decoder.score({.B = 1,
                     .S = end - begin,
                     .src = {src.begin() + begin, src.begin() + end},
                     .tgt = {tgt.begin() + begin, tgt.begin() + end}},
                    {}, nll);
      alone.insert(alone.end(), nll.begin(), nll.end());
    }
    for (size_t t = 0; t < 12; ++t) EXPECT_NEAR(apart[t], alone[t], 2e-6) << t;
    EXPECT_GT(std::abs(together[11] - alone[11]), 1e-4);
    // Two sequences at a time, in training, are two times the same loss.
    const LossSum one = decoder.forward_backward({.B = 1, .S = 12, .src = src, .tgt = tgt, .texts_apart = true}, {}, grads);
    std::vector<int32_t> src2 = src, tgt2 = tgt;
    src2.insert(src2.end(), src.begin(), src.end()), tgt2.insert(tgt2.end(), tgt.begin(), tgt.end());
    const LossSum two = decoder.forward_backward({.B = 2, .S = 12, .src = src2, .tgt = tgt2, .texts_apart = true}, {}, grads);
    EXPECT_NEAR(two.nll, 2.0 * one.nll, 1e-4);
  }
}

}  // namespace
}  // namespace troupe
