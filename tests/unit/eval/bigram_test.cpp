// Perplexity and requests on a model whose log-probabilities are known: a bigram table.
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>

#include "bigram_model.h"
#include "error_of.h"
#include "eval/perplexity.h"
#include "eval/requests.h"
#include "temporary_folder.h"

namespace troupe {
namespace {

constexpr int32_t kEos = 0;
constexpr double kTolerance =
    2e-5;  // float32 rounding of logits of size 5, through a norm and a sum of 13 exponentials

double logit(int64_t i, int64_t j) {
  return 3.0 * std::sin(1.0 + 2.7 * static_cast<double>(i * i) + 1.3 * static_cast<double>(j));
}

using test::BigramTable;

class Bigram : public testing::Test {
 protected:
  double logprob(const std::vector<int32_t>& context, const std::vector<int32_t>& continuation) const {
    double sum = 0.0;
    int32_t last = context.back();
    for (const int32_t id : continuation) sum += table.logprob(last, id), last = id;
    return sum;
  }
  bool greedy(const std::vector<int32_t>& context, const std::vector<int32_t>& continuation) const {
    int32_t last = context.back();
    for (const int32_t id : continuation) {
      if (table.most_probable(last) != id) return false;
      last = id;
    }
    return true;
  }

  BigramTable table{11, logit};
  std::unique_ptr<LanguageModel> model = test::bigram_model(table, 16, kEos);
};

TEST_F(Bigram, EveryTransitionHasTheTablesProbability) {
  std::vector<ScoreRequest> requests;
  for (int32_t i = 0; i < table.V(); ++i)
    for (int32_t j = 0; j < table.V(); ++j) requests.push_back({{i}, {j}});
  RequestStats stats;
  const auto answers = score_requests(*model, requests, {}, stats);
  for (size_t r = 0; r < requests.size(); ++r) {
    EXPECT_NEAR(answers[r].logprob, table.logprob(requests[r].context[0], requests[r].continuation[0]), kTolerance);
    EXPECT_EQ(answers[r].is_greedy, greedy(requests[r].context, requests[r].continuation));
  }
}

std::vector<ScoreRequest> mixed_requests(int64_t V) {
  std::vector<ScoreRequest> requests;
  Rng rng(3);
  const auto ids = [&](size_t count) {
    std::vector<int32_t> list(count);
    for (int32_t& id : list) id = static_cast<int32_t>(rng.below(static_cast<uint64_t>(V)));
    return list;
  };
  for (size_t item = 0; item < 20; ++item) {
    const std::vector<int32_t> context = ids(1 + item % 9);
    for (size_t choice = 0; choice < 1 + item % 4; ++choice)
      requests.push_back({context, ids(1 + (item + choice) % 5)});
  }
  requests.push_back(requests.front());   // equal requests run once
  requests.push_back({ids(40), ids(3)});  // loses context on its left
  requests.push_back({ids(2), ids(50)});  // a continuation longer than the context
  return requests;
}

TEST_F(Bigram, RequestsOfAllShapesGetExactScores) {
  const std::vector<ScoreRequest> requests = mixed_requests(table.V());
  for (const CapacityRule& capacity : {CapacityRule{CapacityRule::kDropless}, CapacityRule{CapacityRule::kTraining}})
    for (const int64_t batch_tokens : {7, 4096}) {
      RequestStats stats;
      const auto answers =
          score_requests(*model, requests, {.capacity = capacity, .batch_tokens = batch_tokens}, stats);
      for (size_t r = 0; r < requests.size(); ++r) {
        EXPECT_NEAR(answers[r].logprob, logprob(requests[r].context, requests[r].continuation),
                    kTolerance * static_cast<double>(requests[r].continuation.size()))
            << "request " << r;
        EXPECT_EQ(answers[r].is_greedy, greedy(requests[r].context, requests[r].continuation)) << "request " << r;
      }
      EXPECT_EQ(stats.repeated, 1);
      EXPECT_EQ(stats.truncated, 2);
    }
}

TEST_F(Bigram, WhatAllContextsShareRunsOnce) {
  std::vector<ScoreRequest> requests;
  for (int32_t item = 0; item < 5; ++item)
    for (int32_t choice = 0; choice < 3; ++choice) {
      ScoreRequest request{std::vector<int32_t>(12, 4), {1, choice}};
      request.context.resize(10 + 2, 4);
      request.context.insert(request.context.end(), {2, item});
      requests.push_back(request);
    }
  // Below the shortest shared beginning that is worth it (16), then above.
  for (const size_t more : {size_t{0}, size_t{10}}) {
    for (ScoreRequest& request : requests) request.context.insert(request.context.begin(), more, 5);
    RequestStats stats;
    const auto large = test::bigram_model(table, 64, kEos);
    const auto answers = score_requests(*large, requests, {}, stats);
    for (size_t r = 0; r < requests.size(); ++r)
      EXPECT_NEAR(answers[r].logprob, logprob(requests[r].context, requests[r].continuation), kTolerance);
    const int64_t shared = more ? 23 : 0, rest = 13 + static_cast<int64_t>(more) - shared;
    EXPECT_EQ(stats.run_tokens, shared + 5 * (rest + 3 * 2)) << more;
  }
}

TEST_F(Bigram, AnInterruptedEvaluationGoesOnFromTheJournal) {
  test::TemporaryFolder folder;
  const std::vector<ScoreRequest> requests = mixed_requests(table.V());
  const std::span<const ScoreRequest> half = std::span(requests).first(requests.size() / 2);
  RequestStats first, second;
  std::vector<ScoreAnswer> before, after;
  {
    Journal journal(folder / "journal.jsonl", "model A");
    before = score_requests(*model, half, {.journal = &journal}, first);
  }
  std::ofstream(folder / "journal.jsonl", std::ios::app) << "{\"key\":\"00";  // killed in the middle of a line
  {
    Journal journal(folder / "journal.jsonl", "model A");
    after = score_requests(*model, requests, {.journal = &journal}, second);
  }
  EXPECT_EQ(second.from_journal, static_cast<int64_t>(half.size()) + 1);  // the repeated one is among the first half
  for (size_t r = 0; r < requests.size(); ++r) {
    EXPECT_NEAR(after[r].logprob, logprob(requests[r].context, requests[r].continuation),
                kTolerance * static_cast<double>(requests[r].continuation.size()));
    if (r < half.size()) {
      EXPECT_EQ(after[r].logprob, before[r].logprob);
    }
  }
  {
    RequestStats other;
    Journal journal(folder / "journal.jsonl", "model B");
    score_requests(*model, requests, {.journal = &journal}, other);
    EXPECT_EQ(other.from_journal, 0);
  }
  std::ofstream(folder / "broken.jsonl")
      << "{\"key\":\"0123456789abcdef\",\"logprob\":-1,\"greedy\":false}\n{\"key\":7}\n";
  EXPECT_EQ(test::error_of([&] { Journal(folder / "broken.jsonl", "x"); }),
            (folder / "broken.jsonl").string() + ":2: logprob: expected this field, got an entry without it");
}

TEST_F(Bigram, RefusesRequestsThatCannotBeScored) {
  RequestStats stats;
  const auto error = [&](const ScoreRequest& request, ErrorCode code) {
    return test::error_of([&] { score_requests(*model, {&request, 1}, {}, stats); }, code);
  };
  EXPECT_EQ(error({{}, {1}}, ErrorCode::kUsage),
            "request 0: expected a context and a continuation, got 0 and 1 tokens");
  EXPECT_EQ(error({{1}, {11}}, ErrorCode::kData), "request 0: expected an id in [0, 11), got 11");
}

EvalText some_text() {
  EvalText text{.name = "some"};
  Rng rng(9);
  for (const int64_t length : {3, 30, 1, 17}) {
    for (int64_t i = 0; i < length; ++i) text.ids.push_back(1 + static_cast<int32_t>(rng.below(10)));
    text.ids.push_back(kEos);
    text.begin.push_back(text.tokens());
    text.document_bytes.push_back(4 * length);
  }
  return text;
}

TEST_F(Bigram, PerplexityIsThatOfTheTableWhateverTheWindows) {
  const EvalText text = some_text();
  for (const PerplexityOptions& options :
       {PerplexityOptions{}, PerplexityOptions{.mode = WindowMode::kSliding, .context = 7, .stride = 3},
        PerplexityOptions{.mode = WindowMode::kDocuments, .batch_sequences = 2},
        PerplexityOptions{.context = 8, .fairseq = true, .context_window = 3},
        PerplexityOptions{.context = 8, .batch_sequences = 3, .fairseq = true}}) {
    const PerplexityResult result = evaluate_perplexity(*model, text, options);
    double total = 0.0;
    for (size_t d = 0; d < result.documents.size(); ++d) {
      double nll = 0.0;
      int32_t last = kEos;
      for (int64_t t = text.begin[d]; t < text.begin[d + 1]; ++t) {
        const int32_t id = text.ids[static_cast<size_t>(t)];
        nll -= table.logprob(last, id), last = id;
      }
      EXPECT_NEAR(result.documents[d].nll, nll, kTolerance * static_cast<double>(result.documents[d].tokens));
      EXPECT_EQ(result.documents[d].tokens, text.begin[d + 1] - text.begin[d]);
      total += nll;
    }
    EXPECT_EQ(result.sum.tokens, text.tokens());
    EXPECT_NEAR(result.nll(), total / static_cast<double>(text.tokens()), kTolerance);
    EXPECT_NEAR(result.perplexity(), std::exp(total / static_cast<double>(text.tokens())), 1e-3);
    EXPECT_NEAR(result.bits_per_byte(), total / std::log(2.0) / (4.0 * 51.0), 1e-4);
  }
}

TEST_F(Bigram, StandardErrorIsThatOfARatio) {
  PerplexityResult result;
  result.documents = {{4.0, 2, 1}, {9.0, 3, 1}, {2.0, 1, 1}};
  result.sum.nll = 15.0, result.sum.tokens = 6;
  // residuals nll - 2.5 * tokens: -1, 1.5, -0.5
  EXPECT_NEAR(result.standard_error(), std::sqrt((1.0 + 2.25 + 0.25) * 3.0 / 2.0) / 6.0, 1e-12);
  result.documents.resize(1);
  EXPECT_TRUE(std::isnan(result.standard_error()));
}

TEST_F(Bigram, PerplexityNamesWhatItCannotScore) {
  EvalText text = some_text();
  text.ids[4] = 11;
  EXPECT_EQ(test::error_of([&] { evaluate_perplexity(*model, text, {}); }),
            "some: token 4: expected an id < 11 (the model's vocab_size), got 11");
  EXPECT_EQ(test::error_of([&] { evaluate_perplexity(*model, EvalText{.name = "none"}, {}); }),
            "none: expected at least one token, got none");
  EXPECT_EQ(test::error_of([&] { evaluate_perplexity(*model, some_text(), {.context = 17}); }, ErrorCode::kUsage),
            "--context: expected at most 16 (the model has learned positions for no more), got 17");
}

}  // namespace
}  // namespace troupe
