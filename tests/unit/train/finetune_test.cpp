// What fine-tuning reads: texts in rows, in an order that seed and step alone decide, and what it trains.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <utility>

#include "error_of.h"
#include "train/freeze.h"
#include "train/packed_texts.h"

namespace troupe {
namespace {

// Text i begins with the id 3 + i.
std::vector<TrainingText> texts(int64_t count) {
  std::vector<TrainingText> all;
  for (int64_t i = 0; i < count; ++i) {
    const auto id = static_cast<int32_t>(3 + i);
    const std::vector<int32_t> context(static_cast<size_t>(2 + i % 5), id),
        answer(static_cast<size_t>(1 + i % 2), id + 1);
    all.push_back(text_of(context, answer, 100));
  }
  return all;
}

TextLoader loader(int64_t micro_batches, uint64_t seed = 1) {
  return TextLoader(
      {{"a", texts(10)}},
      {.seed = seed, .batch_texts = 4, .micro_batches = micro_batches, .filling = {.id = 0, .context = 12}});
}

std::multiset<std::pair<int32_t, int32_t>> scored(const Batch& batch) {
  std::multiset<std::pair<int32_t, int32_t>> pairs;
  for (size_t t = 0; t < batch.tgt.size(); ++t)
    if (batch.tgt[t] >= 0) pairs.emplace(batch.src[t], batch.tgt[t]);
  return pairs;
}

TEST(TrainingText, LosesTokensOnItsLeft) {
  const std::vector<int32_t> context = {1, 2, 3}, answer = {4, 5};
  EXPECT_EQ(text_of(context, answer, 9).scored, (std::vector<uint8_t>{0, 0, 0, 1, 1}));
  const TrainingText cut = text_of(context, answer, 2);
  EXPECT_EQ(cut.ids, (std::vector<int32_t>{3, 4, 5}));
  EXPECT_EQ(cut.scored, (std::vector<uint8_t>{0, 1, 1}));
  EXPECT_EQ(text_of(context, answer, 1).num_scored(), 1);  // the first of what is left is no target
}

TEST(TrainingText, PiecesCountEveryTokenButTheFirstOnce) {
  const std::vector<int32_t> ids = {9, 1, 2, 3, 4, 5, 6, 7};
  for (int64_t limit = 1; limit < 10; ++limit) {
    std::vector<int32_t> counted;
    for (const TrainingText& piece : pieces_of(ids, limit)) {
      EXPECT_LE(piece.inputs(), limit);
      for (size_t i = 0; i < piece.ids.size(); ++i)
        if (piece.scored[i]) counted.push_back(piece.ids[i]);
    }
    EXPECT_EQ(counted, std::vector<int32_t>(ids.begin() + 1, ids.end())) << limit;
  }
}

TEST(TextLoader, ReadsEveryTextOnceAnEpochInAnOrderOfItsOwn) {
  const TextLoader whole = loader(1);
  EXPECT_EQ(whole.steps_per_epoch(), 3);
  std::multiset<std::pair<int32_t, int32_t>> all;
  for (const TrainingText& text : texts(10))
    for (size_t i = 1; i < text.ids.size(); ++i)
      if (text.scored[i]) all.emplace(text.ids[i - 1], text.ids[i]);
  std::vector<std::vector<int32_t>> epochs;
  for (int64_t epoch = 0; epoch < 2; ++epoch) {
    std::multiset<std::pair<int32_t, int32_t>> seen;
    std::vector<int32_t>& order = epochs.emplace_back();
    for (int64_t step = 3 * epoch; step < 3 * epoch + 3; ++step) {
      const Batch batch = whole.batch(step, 0);
      EXPECT_LE(batch.S, 12);
      order.insert(order.end(), batch.src.begin(), batch.src.end());
      seen.merge(scored(batch));
    }
    EXPECT_EQ(seen, all);
  }
  EXPECT_NE(epochs[0], epochs[1]);
  EXPECT_NE(whole.batch(0, 0).src, loader(1, 2).batch(0, 0).src);
}

TEST(TextLoader, PartsOfAnUpdateAreTheUpdate) {
  const TextLoader whole = loader(1), parts = loader(4);
  for (int64_t step = 0; step < 6; ++step) {
    std::multiset<std::pair<int32_t, int32_t>> together;
    int64_t rows = 0, S = 0;
    for (int64_t micro = 0; micro < 4; ++micro) {
      const Batch batch = parts.batch(step, micro);
      EXPECT_EQ(batch.first_sequence, rows);
      EXPECT_TRUE(S == 0 || S == batch.S);  // or dropout would use a number twice
      rows += batch.B, S = batch.S;
      together.merge(scored(batch));
    }
    EXPECT_EQ(together, scored(whole.batch(step, 0))) << step;
  }
}

TEST(TextLoader, SharesFollowWeights) {
  const TextLoader mixed({{"a", texts(4), 3.0}, {"b", texts(4), 1.0}},
                         {.batch_texts = 8, .filling = {.id = 0, .context = 12}});
  EXPECT_EQ(mixed.steps_per_epoch(), 1);
  EXPECT_EQ(mixed.texts_per_epoch(), 8);
}

// In rows with others a text scores as it does alone: with padding, without, and in training.
TEST(PackedTexts, DoNotSeeEachOther) {
  for (const int64_t pad : {-1, 1}) {
    ModelConfig config{.num_layers = 2, .d_model = 32, .num_heads = 2, .d_ff = 48, .vocab_size = 30, .context = 20};
    config.pad_id = pad, config.eos_id = 2;
    LanguageModel model(config, Precision::kFp32);
    initialize(model.params(), 3);
    const Filling filling{.id = static_cast<int32_t>(pad < 0 ? 2 : pad), .context = 20};
    std::vector<TrainingText> all = texts(9);
    all[3].ids[1] = 2;  // end-of-text inside a text begins none
    std::vector<const TrainingText*> together;
    double alone = 0.0;
    int64_t tokens = 0;
    for (const TrainingText& text : all) {
      together.push_back(&text);
      const TrainingText* one[] = {&text};
      const LossSum sum = model.score(pack(one, filling), {});
      alone += sum.nll, tokens += sum.tokens;
    }
    const Batch batch = pack(together, filling);
    EXPECT_LT(batch.B, 9);
    const LossSum sum = model.score(batch, {});
    EXPECT_EQ(sum.tokens, tokens);
    EXPECT_NEAR(sum.nll, alone, 2e-5 * alone);
    ParameterStore<float> grads(model.table());
    EXPECT_NEAR(model.forward_backward(batch, {}, grads).nll, alone, 2e-5 * alone);
  }
}

// Rows of whatever came first would be 255 and 61 tokens long.
TEST(PackedTexts, FillRowsOfAboutTheSameLength) {
  std::vector<TrainingText> all;
  int64_t tokens = 0;
  for (size_t i = 0; i < 13; ++i) {
    const std::vector<int32_t> context(10 + 7 * i % 30, 5), answer(1, 6);
    all.push_back(text_of(context, answer, 1000));
    tokens += all.back().inputs();
  }
  std::vector<const TrainingText*> together;
  for (const TrainingText& text : all) together.push_back(&text);
  const Batch batch = pack(together, {.id = 0, .context = 1000});
  EXPECT_EQ(batch.B, (tokens + kRowTokens - 1) / kRowTokens);
  EXPECT_LE(batch.S, kRowTokens);
  EXPECT_LE(static_cast<double>(batch.tokens()), 1.05 * static_cast<double>(tokens));
}

TEST(ChosenExperts, AreTheFewestThatHaveTheShare) {
  const std::vector<RouterStats> use = {{.layer = 1, .load_E = {10, 40, 10, 40}}, {.layer = 3, .load_E = {0, 0, 7, 0}}};
  EXPECT_EQ(choose_experts(use, 0.4), (ChosenExperts{{1, {1}}, {3, {2}}}));
  EXPECT_EQ(choose_experts(use, 0.41), (ChosenExperts{{1, {1, 3}}, {3, {2}}}));
  EXPECT_EQ(choose_experts(use, 1.0), (ChosenExperts{{1, {0, 1, 2, 3}}, {3, {2}}}));
}

TEST(Freeze, IsRefusedWhereThereAreNoExperts) {
  ParameterTable table;
  table.add({.name = "layers.0.attn.out_proj.weight", .shape = {2, 2}});
  check_freeze(Freeze::kAllButAttention, table, "x");
  EXPECT_THAT(
      test::error_of([&] { check_freeze(Freeze::kRouter, table, "x"); }, ErrorCode::kUsage),
      testing::HasSubstr("x: finetune.freeze: expected nothing or all_but_attention for a dense model, got router"));
}

}  // namespace
}  // namespace troupe
