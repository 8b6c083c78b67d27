// Evaluation shared by ranks: whole batches are shared out, and every rank gets what one process gets, to the bit.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/rng.h"
#include "eval/perplexity.h"
#include "eval/requests.h"
#include "eval/shared_batches.h"
#include "model/decoder_parameters.h"
#include "ranks.h"
#include "small_model.h"
#include "temporary_folder.h"

namespace troupe {
namespace {

using test::world;

TEST(SharedBatches, EveryRankScoresItsOwnAndGetsAllInOrder) {
  for (const int batches : {0, 1, 4, 7}) {
    std::vector<int> scored, taken;
    SharedBatches<int> shared(&world(), [&](const std::vector<int>& results) {
      taken.insert(taken.end(), results.begin(), results.end());
    });
    std::vector<int> own, all;
    for (int batch = 0; batch < batches; ++batch) {
      if (batch % world().size() == world().rank()) own.push_back(batch);
      for (int i = 0; i < batch; ++i) all.push_back(batch);  // of any length
      shared.add([&, batch](std::vector<int>& results) {
        scored.push_back(batch);
        results.assign(static_cast<size_t>(batch), batch);
      });
    }
    shared.finish();
    EXPECT_EQ(scored, own);
    EXPECT_EQ(taken, all);
  }
}

TEST(SharedBatches, WhatOneRankCannotScoreAllSay) {
  SharedBatches<int> shared(&world(), [](const std::vector<int>&) {});
  std::string said;
  try {
    for (int batch = 0; batch < 7; ++batch)
      shared.add([batch](std::vector<int>&) { if (batch == 3) fail(ErrorCode::kNonFinite, "batch 3"); });
    shared.finish();
  } catch (const Error& error) {
    said = error.what();
    EXPECT_EQ(error.code(), ErrorCode::kNonFinite);
  }
  EXPECT_EQ(said, "batch 3");
}

class SharedEvaluation : public testing::TestWithParam<Precision> {
 protected:
  SharedEvaluation() : model(config(), GetParam()) { initialize(model.params(), 3); }
  static ModelConfig config() {
    ModelConfig config = test::small_config();
    config.moe.num_experts = 5, config.moe.every = 2, config.moe.expert_d_ff = 48;
    config.eos_id = 2;
    return config;
  }
  int32_t id() { return static_cast<int32_t>(5 + rng.below(40)); }
  std::vector<int32_t> ids(size_t count) {
    std::vector<int32_t> list(count);
    for (int32_t& one : list) one = id();
    return list;
  }

  Rng rng{3};
  LanguageModel model;
};

TEST_P(SharedEvaluation, PerplexityHasTheBitsOfOneProcess) {
  EvalText text{.name = "some"};
  for (const int64_t length : {3, 30, 1, 17, 5, 9}) {
    for (int64_t i = 0; i < length; ++i) text.ids.push_back(id());
    text.begin.push_back(text.tokens());
    text.document_bytes.push_back(4 * length);
  }
  for (PerplexityOptions options :
       {PerplexityOptions{.context = 8, .batch_sequences = 1}, PerplexityOptions{.context = 8, .batch_sequences = 3},
        PerplexityOptions{.mode = WindowMode::kSliding, .context = 7, .stride = 3, .batch_sequences = 2},
        PerplexityOptions{.mode = WindowMode::kDocuments, .context = 8, .batch_sequences = 2,
                          .capacity = CapacityRule{CapacityRule::kTraining}}}) {
    const PerplexityResult expected = evaluate_perplexity(model, text, options);
    options.ranks = &world();
    const PerplexityResult actual = evaluate_perplexity(model, text, options);
    EXPECT_EQ(actual.document_scores(), expected.document_scores());
    EXPECT_EQ(actual.sum.nll, expected.sum.nll);
    EXPECT_EQ(actual.sum.choices, expected.sum.choices);
    EXPECT_EQ(actual.sum.dropped, expected.sum.dropped);
    EXPECT_GT(actual.sum.choices, 0);
  }
}

TEST_P(SharedEvaluation, RequestsHaveTheBitsOfOneProcess) {
  const test::TemporaryFolder folder;
  std::vector<ScoreRequest> requests;
  const std::vector<int32_t> shots = ids(20);
  for (size_t item = 0; item < 15; ++item) {
    std::vector<int32_t> context = shots;
    for (const int32_t one : ids(1 + item % 5)) context.push_back(one);
    for (size_t choice = 0; choice < 1 + item % 3; ++choice) requests.push_back({context, ids(1 + (item + choice) % 4)});
  }
  requests.push_back({ids(2), ids(70)});  // in pieces
  requests.push_back(requests.front());
  for (const CapacityRule& capacity : {CapacityRule{CapacityRule::kDropless}, CapacityRule{CapacityRule::kTraining}}) {
    RequestOptions options{.capacity = capacity, .batch_tokens = 12, .context = 32};
    RequestStats expected_stats, stats, again_stats;
    const auto expected = score_requests(model, requests, options, expected_stats);
    options.ranks = &world();
    const auto actual = score_requests(model, requests, options, stats);
    // The first half is known to a journal, which the first rank has.
    const auto known = folder / (capacity.kind == CapacityRule::kDropless ? "dropless" : "dropped");
    if (world().rank() == 0) {
      Journal journal(known, "model");
      for (size_t i = 0; i < requests.size() / 2; ++i)
        journal.add(journal.key(requests[i].context, requests[i].continuation), {expected[i].logprob, expected[i].is_greedy});
    }
    const auto journal = world().rank() == 0 ? std::make_unique<Journal>(known, "model") : nullptr;
    options.journal = journal.get();
    const auto again = score_requests(model, requests, options, again_stats);
    for (size_t i = 0; i < requests.size(); ++i) {
      EXPECT_EQ(actual[i].logprob, expected[i].logprob) << i;
      EXPECT_EQ(actual[i].is_greedy, expected[i].is_greedy) << i;
      EXPECT_EQ(actual[i].truncated, expected[i].truncated) << i;
      if (i < requests.size() / 2) {
        EXPECT_EQ(again[i].logprob, expected[i].logprob) << i;
      }
    }
    EXPECT_EQ(stats.run_tokens, expected_stats.run_tokens);
    EXPECT_EQ(stats.choices, expected_stats.choices);
    EXPECT_EQ(stats.dropped, expected_stats.dropped);
    EXPECT_EQ(again_stats.from_journal, static_cast<int64_t>(requests.size() / 2) + 1);
    if (journal) {
      EXPECT_EQ(journal->size(), requests.size() - 1);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Precisions, SharedEvaluation, testing::Values(Precision::kFp32, Precision::kBf16));

}  // namespace
}  // namespace troupe
