// Decoding with a cache gives what a whole pass gives, token by token, dense and sparse.
#include "infer/incremental.h"

#include <fmt/core.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <set>
#include <vector>

#include "error_of.h"
#include "facts.h"
#include "infer/generator.h"
#include "model/decoder_parameters.h"
#include "tensor/host_matrix.h"

namespace troupe {
namespace {

ModelConfig config_with(int64_t experts, Positions positions = Positions::kSinusoidal) {
  ModelConfig config;
  config.num_layers = 4, config.d_model = 16, config.num_heads = 2, config.d_ff = 24, config.vocab_size = 50;
  config.context = 24, config.positions = positions;
  config.moe.num_experts = experts, config.moe.top_k = std::min<int64_t>(2, std::max<int64_t>(1, experts));
  return config;
}

template <class Change>
ModelConfig config_of_family(const Change& change, int64_t experts = 0) {
  ModelConfig config = config_with(experts);
  change(config);
  return config;
}

std::vector<int32_t> random_tokens(int64_t count, uint64_t seed) {
  Rng rng(seed);
  std::vector<int32_t> tokens(static_cast<size_t>(count));
  for (int32_t& token : tokens) token = static_cast<int32_t>(rng.below(50));
  return tokens;
}

std::vector<double> whole_pass(Decoder<F64>& decoder, const std::vector<int32_t>& tokens) {
  Batch batch;
  batch.B = 1, batch.S = static_cast<int64_t>(tokens.size()) - 1;
  batch.src.assign(tokens.begin(), tokens.end() - 1);
  batch.tgt.assign(tokens.begin() + 1, tokens.end());
  std::vector<double> nll(static_cast<size_t>(batch.S));
  decoder.score(batch, {.capacity = {CapacityRule::kDropless}}, nll);
  return nll;
}

class Incremental : public testing::TestWithParam<ModelConfig> {};

TEST_P(Incremental, PiecesScoreLikeTheWholeSequence) {
  const ModelConfig config = GetParam();
  const ParameterTable table = make_parameter_table(config);
  ParameterStore<double> params(table);
  initialize(params, 3);
  Decoder<F64> decoder(config, params);
  const std::vector<int32_t> tokens = random_tokens(20, 1);
  const std::vector<double> expected = whole_pass(decoder, tokens);

  IncrementalDecoder<F64> incremental(decoder);
  KvPool<F64> pool(config, host_memory());
  KvSequence<F64> past(pool);
  std::vector<double> actual;
  size_t at = 0;
  for (const size_t count : {7, 1, 1, 6, 4}) {
    const NewTokens<F64> request{std::span(tokens).subspan(at, count), &past};
    const auto hidden = incremental.run({&request, 1});
    std::vector<double> nll(count);
    incremental.score(hidden, std::span(tokens).subspan(at + 1, count), nll);
    actual.insert(actual.end(), nll.begin(), nll.end());
    at += count;
  }
  ASSERT_EQ(actual.size(), expected.size());
  for (size_t i = 0; i < actual.size(); ++i) EXPECT_NEAR(actual[i], expected[i], 1e-12) << i;
  EXPECT_EQ(past.length(), 19);
}

// Decoding goes through the same weights with memory of its own: what a whole pass left is still there.
TEST_P(Incremental, LeavesTheDecodersMemoryAlone) {
  const ModelConfig config = GetParam();
  const ParameterTable table = make_parameter_table(config);
  ParameterStore<double> params(table);
  initialize(params, 3);
  Decoder<F64> decoder(config, params);
  const std::vector<int32_t> tokens = random_tokens(20, 1);
  whole_pass(decoder, tokens);
  const HostMatrix<double> hidden = decoder.workspace().final_norm.y_TD;
  const std::vector<double> left(hidden.data, hidden.data + hidden.rows * hidden.cols);
  IncrementalDecoder<F64> incremental(decoder);
  KvPool<F64> pool(config, host_memory());
  KvSequence<F64> past(pool);
  const NewTokens<F64> request{std::span(tokens).first(9), &past};
  incremental.run({&request, 1});
  EXPECT_EQ(decoder.workspace().final_norm.y_TD.data, hidden.data);
  EXPECT_TRUE(std::equal(left.begin(), left.end(), hidden.data));
}

// Several continuations of one past in one pass.
TEST_P(Incremental, ContinuationsOfASharedPastScoreLikeWholeSequences) {
  const ModelConfig& config = GetParam();
  const ParameterTable table = make_parameter_table(config);
  ParameterStore<double> params(table);
  initialize(params, 4);
  Decoder<F64> decoder(config, params);
  IncrementalDecoder<F64> incremental(decoder);
  KvPool<F64> pool(config, host_memory());
  KvSequence<F64> shared(pool);
  const std::vector<int32_t> prefix = random_tokens(9, 2);
  const NewTokens<F64> first{std::span(prefix).first(8), &shared};
  incremental.run({&first, 1});

  std::vector<std::vector<int32_t>> wholes;
  std::vector<KvSequence<F64>> pasts;
  std::vector<NewTokens<F64>> requests;
  std::vector<int32_t> targets;
  for (const size_t count : {1, 6, 3}) {
    const std::vector<int32_t> continuation = random_tokens(count, 5 + count);
    std::vector<int32_t>& whole = wholes.emplace_back(prefix);
    whole.insert(whole.end(), continuation.begin(), continuation.end());
    targets.insert(targets.end(), continuation.begin(), continuation.end());
    pasts.push_back(shared.fork());
  }
  for (size_t i = 0; i < wholes.size(); ++i)
    requests.push_back({std::span(wholes[i]).subspan(8, wholes[i].size() - 9), &pasts[i]});
  std::vector<double> nll(targets.size());
  incremental.score(incremental.run(requests), targets, nll);
  size_t row = 0;
  for (const std::vector<int32_t>& whole : wholes) {
    const std::vector<double> expected = whole_pass(decoder, whole);
    for (size_t i = 8; i < expected.size(); ++i)
      EXPECT_NEAR(nll[row++], expected[i], 1e-12) << whole.size() << ", " << i;
  }
  EXPECT_EQ(row, nll.size());
}

TEST_P(Incremental, GreedyGenerationPicksTheMostProbableToken) {
  LanguageModel model(GetParam(), Precision::kFp32);
  initialize(model.params(), 4);
  const std::vector<int32_t> prompt = random_tokens(5, 8);
  GenerateOptions options;
  options.max_tokens = 10, options.stop_at_eos = false, options.sampling.temperature = 0.0;
  const Generation generation = generate(model, prompt, options);
  ASSERT_EQ(generation.tokens.size(), 10u);
  std::vector<int32_t> all = prompt;
  for (const int32_t token : generation.tokens) {
    Batch batch;
    batch.B = 1, batch.S = static_cast<int64_t>(all.size()), batch.src = all;
    batch.tgt.assign(all.size(), 0);
    std::vector<int32_t> argmax(all.size());
    model.score(batch, {.capacity = {CapacityRule::kDropless}}, {}, argmax);
    EXPECT_EQ(token, argmax.back());
    all.push_back(token);
  }
}

INSTANTIATE_TEST_SUITE_P(Models, Incremental,
                         testing::Values(config_with(0), config_with(4), config_with(0, Positions::kLearned),
                                         config_of_family(test::llama_facts), config_of_family(test::qwen3_facts, 4),
                                         config_of_family(test::olmo2_facts), config_of_family(test::gpt_neox_facts),
                                         config_of_family(test::granite_facts), config_of_family(test::qwen2_moe_facts, 4),
                                         config_of_family([](ModelConfig& c) { c.window = 5, c.window_from = 1; }),
                                         config_of_family([](ModelConfig& c) { c.moe.router = RouterKind::kHash; }, 6),
                                         config_of_family([](ModelConfig& c) {
                                           c.moe.score = RouterScore::kSigmoid, c.moe.balance_bias = true;
                                           c.moe.groups = 3, c.moe.groups_kept = 2, c.moe.output_scale = 2.5;
                                         }, 6),
                                         config_of_family([](ModelConfig& c) { c.logit_cap = 0.3; })));

// Next-token probabilities, whatever way leads to them, are those of capped logits.
TEST(IncrementalLogits, AreCappedAsScoresAre) {
  const ModelConfig config = config_of_family([](ModelConfig& c) { c.logit_cap = 0.3, c.logit_divisor = 0.1; });
  const ParameterTable table = make_parameter_table(config);
  ParameterStore<double> params(table);
  initialize(params, 3);
  Decoder<F64> decoder(config, params);
  const std::vector<int32_t> tokens = random_tokens(9, 5);
  const std::vector<double> nll = whole_pass(decoder, tokens);
  IncrementalDecoder<F64> incremental(decoder);
  KvPool<F64> pool(config, host_memory());
  KvSequence<F64> past(pool);
  std::vector<double> logits(50);
  double largest = 0.0;
  for (size_t i = 0; i + 1 < tokens.size(); ++i) {
    const NewTokens<F64> one{std::span(tokens).subspan(i, 1), &past};
    incremental.logits(incremental.run({&one, 1}), logits);
    double sum = 0.0;
    for (const double logit : logits) sum += std::exp(logit), largest = std::max(largest, std::abs(logit));
    EXPECT_NEAR(std::log(sum) - logits[static_cast<size_t>(tokens[i + 1])], nll[i], 1e-9) << i;
  }
  EXPECT_LE(largest, 0.3);
  EXPECT_GT(largest, 0.2);
}

TEST(Generate, LearnedPositionsEndTheText) {
  LanguageModel model(config_with(0, Positions::kLearned), Precision::kFp32);
  initialize(model.params(), 4);
  GenerateOptions options;
  options.max_tokens = 1000, options.stop_at_eos = false;
  const Generation generation = generate(model, random_tokens(20, 1), options);
  EXPECT_EQ(generation.tokens.size(), 5u);  // the last one needs no position of its own
}

TEST(Sampler, RefusesLogitsThatAreNotFinite) {
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()})
    for (const double temperature : {0.0, 1.0}) {
      const std::vector<float> logits = {1.0f, bad, 2.0f};
      EXPECT_THAT(test::error_of([&] { sample(logits, {.temperature = temperature}, 7); }, ErrorCode::kNonFinite),
                  testing::HasSubstr(fmt::format("new token 7: expected finite logits, got {} for id 1", bad)));
    }
}

TEST(Sampler, FollowsTemperatureTopKTopPAndSeed) {
  const std::vector<float> logits = {1.0f, 3.0f, 2.0f, 3.0f};
  EXPECT_EQ(sample(logits, {.temperature = 0.0}, 0), 1);  // lowest id among equals
  for (uint64_t i = 0; i < 50; ++i) {
    EXPECT_EQ(sample(logits, {.top_k = 1}, i), 1);
    EXPECT_EQ(sample(logits, {.top_p = 0.2}, i), 1);
    const int32_t token = sample(logits, {.top_k = 2}, i);
    EXPECT_TRUE(token == 1 || token == 3);
    EXPECT_EQ(sample(logits, {.seed = 9}, i), sample(logits, {.seed = 9}, i));
  }
  int64_t counts[4] = {};
  for (uint64_t i = 0; i < 20000; ++i) ++counts[sample(logits, {}, i)];
  const double total = std::exp(1.0) + 2 * std::exp(3.0) + std::exp(2.0);
  for (int token = 0; token < 4; ++token) {
    const double p = std::exp(static_cast<double>(logits[token])) / total;
    EXPECT_NEAR(static_cast<double>(counts[token]) / 20000, p, 5 * std::sqrt(p * (1 - p) / 20000)) << token;
  }
}

// What it drew when it sorted the whole vocabulary first.
int32_t sample_by_sorting(const std::vector<float>& logits, const SamplingOptions& options, uint64_t index) {
  std::vector<int32_t> order(logits.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) { return logits[a] > logits[b]; });
  if (options.top_k > 0) order.resize(std::min(order.size(), static_cast<size_t>(options.top_k)));
  std::vector<double> weight;
  for (const int32_t id : order)
    weight.push_back(std::exp((static_cast<double>(logits[id]) - logits[order[0]]) / options.temperature));
  const double total = std::accumulate(weight.begin(), weight.end(), 0.0);
  double kept = 0.0;
  size_t used = 0;
  while (used < order.size() && (used == 0 || kept < options.top_p * total)) kept += weight[used++];
  double point = Rng(options.seed, index).uniform() * kept;
  for (size_t i = 0; i < used; ++i)
    if ((point -= weight[i]) < 0.0) return order[i];
  return order[used - 1];
}

TEST(Sampler, DrawsWhatSortingTheWholeVocabularyDraws) {
  Rng rng(4);
  for (const double spread : {0.0, 0.1, 3.0}) {
    std::vector<float> logits(500);
    for (float& logit : logits) logit = static_cast<float>(spread * rng.normal());
    logits[7] = logits[3];
    for (const auto& options : {SamplingOptions{},
                                {.temperature = 0.5},
                                {.top_k = 40},
                                {.top_k = 600},
                                {.top_p = 0.7},
                                {.top_k = 30, .top_p = 0.9},
                                {.top_p = 0.0}})
      for (uint64_t i = 0; i < 200; ++i)
        ASSERT_EQ(sample(logits, options, i), sample_by_sorting(logits, options, i))
            << spread << " " << options.top_k << " " << options.top_p << " " << i;
  }
}

TEST(Sampler, DrawsAllowedIdsOnly) {
  const std::vector<float> logits = {9.0f, 0.0f, 8.0f, -1.0f, 7.0f};
  const std::vector<int32_t> allowed = {3, 1};
  EXPECT_EQ(sample(logits, {.temperature = 0.0}, 0, allowed), 1);
  for (const auto& options : {SamplingOptions{}, {.top_k = 3}, {.top_p = 0.99}, {.temperature = 9.0}})
    for (uint64_t i = 0; i < 500; ++i) {
      const int32_t token = sample(logits, options, i, allowed);
      ASSERT_TRUE(token == 1 || token == 3) << token;
    }
}

TEST(Generate, KeepsToTheAllowedIdsAndEndOfText) {
  ModelConfig config = config_with(1);
  config.eos_id = 2;
  LanguageModel model(config, Precision::kFp32);
  initialize(model.params(), 3);
  GenerateOptions options;
  options.max_tokens = 200, options.stop_at_eos = false, options.sampling.temperature = 5.0;
  options.allowed = {7, 40, 49};
  std::set<int32_t> seen;
  for (const int32_t token : generate(model, random_tokens(3, 1), options).tokens) seen.insert(token);
  EXPECT_EQ(seen, (std::set<int32_t>{2, 7, 40, 49}));
  options.sampling.temperature = 0.0;
  for (const int32_t token : generate(model, random_tokens(3, 1), options).tokens) EXPECT_TRUE(seen.contains(token));
}

}  // namespace
}  // namespace troupe
