// The order of penalty, temperature and filters, against each of them written out over the whole vocabulary.
#include "infer/sampler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <set>
#include <vector>

#include "base/rng.h"

namespace troupe {
namespace {

constexpr double kNever = -std::numeric_limits<double>::infinity();

std::vector<double> softmax(const std::vector<double>& scores) {
  const double max = *std::max_element(scores.begin(), scores.end());
  std::vector<double> p;
  for (const double score : scores) p.push_back(std::exp(score - max));
  const double sum = std::accumulate(p.begin(), p.end(), 0.0);
  for (double& value : p) value /= sum;
  return p;
}

std::vector<size_t> descending(const std::vector<double>& scores) {
  std::vector<size_t> order(scores.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return scores[a] > scores[b]; });
  return order;
}

// As transformers' processors and warpers, one after the other: each takes scores and gives scores.
int32_t draw_plainly(const std::vector<float>& logits, const std::vector<int32_t>& history,
                     const SamplingOptions& options, uint64_t index) {
  std::vector<double> scores(logits.begin(), logits.end());
  for (const int32_t id : std::set<int32_t>(history.begin(), history.end())) {
    const auto penalty = static_cast<float>(options.repetition_penalty), logit = logits[static_cast<size_t>(id)];
    scores[static_cast<size_t>(id)] = logit < 0.0f ? logit * penalty : logit / penalty;
  }
  for (double& score : scores) score /= options.temperature;
  if (options.top_k > 0) {
    const auto order = descending(scores);
    for (size_t i = static_cast<size_t>(options.top_k); i < order.size(); ++i) scores[order[i]] = kNever;
  }
  if (options.top_p < 1.0) {
    const auto p = softmax(scores);
    double before = 0.0;
    for (const size_t id : descending(scores)) {
      if (before > 0.0 && before >= options.top_p) scores[id] = kNever;
      before += p[id];
    }
  }
  const auto p = softmax(scores);
  const double most = *std::max_element(p.begin(), p.end());
  for (size_t id = 0; id < p.size(); ++id)
    if (p[id] < options.min_p * most) scores[id] = kNever;
  const auto left = softmax(scores);
  double point = Rng(options.seed, index).uniform();
  for (const size_t id : descending(scores))
    if ((point -= left[id]) < 0.0) return static_cast<int32_t>(id);
  return -1;
}

TEST(Sampler, AppliesPenaltyTemperatureTopKTopPAndMinPInThisOrder) {
  Rng rng(8);
  std::vector<float> logits(60);
  for (float& logit : logits) logit = static_cast<float>(2.0 * rng.normal());
  const std::vector<int32_t> history = {3, 14, 3, 15, 9, 26, 53, 58, 3, 0, 1, 2};
  int cases = 0;
  for (const double penalty : {1.0, 1.7, 0.6})
    for (const double temperature : {0.6, 1.0, 2.5})
      for (const int64_t top_k : {0, 1, 12})
        for (const double top_p : {1.0, 0.8, 0.0})
          for (const double min_p : {0.0, 0.05, 0.4, 1.0}) {
            const SamplingOptions options{temperature, top_k, top_p, min_p, penalty, 5};
            for (uint64_t i = 0; i < 40; ++i, ++cases) {
              std::vector<float> penalized = logits;
              RepetitionPenalty repetition(penalty, 60);
              repetition.add(history);
              repetition.apply(penalized);
              ASSERT_EQ(sample(penalized, options, i), draw_plainly(logits, history, options, i))
                  << penalty << " " << temperature << " " << top_k << " " << top_p << " " << min_p << " " << i;
            }
          }
  EXPECT_EQ(cases, 3 * 3 * 3 * 3 * 4 * 40);
}

TEST(Sampler, PenaltyDividesPositiveAndMultipliesNegativeLogitsOnce) {
  std::vector<float> logits = {2.0f, -2.0f, 3.0f, 0.0f};
  RepetitionPenalty penalty(2.0, 4);
  penalty.add(std::vector<int32_t>{0, 1, 0});
  penalty.add(std::vector<int32_t>{1, 3});
  penalty.apply(logits);
  EXPECT_THAT(logits, testing::ElementsAre(1.0f, -4.0f, 3.0f, 0.0f));
}

TEST(Sampler, MinPKeepsTokensNearTheMostProbableOne) {
  const std::vector<float> logits = {std::log(0.5f), std::log(0.3f), std::log(0.15f), std::log(0.05f)};
  std::set<int32_t> seen;
  for (uint64_t i = 0; i < 500; ++i) seen.insert(sample(logits, {.min_p = 0.25}, i));
  EXPECT_EQ(seen, (std::set<int32_t>{0, 1, 2}));
}

TEST(Sampler, SeedsOfSamplesDifferAndTheFirstIsTheOneAskedFor) {
  std::set<uint64_t> seeds;
  for (int64_t sample = 0; sample < 1000; ++sample) seeds.insert(sample_seed(7, sample));
  EXPECT_EQ(seeds.size(), 1000u);
  EXPECT_EQ(sample_seed(7, 0), 7u);
  for (int64_t sample = 1; sample < 1000; ++sample) EXPECT_LT(sample_seed(7, sample), uint64_t{1} << 53);
}

}  // namespace
}  // namespace troupe
