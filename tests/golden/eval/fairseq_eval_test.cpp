// fairseq's eval_lm and hub, score by score (tests/data/golden/fairseq-small/eval).
#include <fmt/core.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>

#include "data/fairseq/dictionary.h"
#include "eval/perplexity.h"
#include "eval/requests.h"
#include "eval/score_file.h"
#include "io/safetensors.h"
#include "model/language_model.h"
#include "fairseq_lines.h"
#include "golden.h"
#include "temporary_folder.h"

namespace troupe {
namespace {

// The README's: logits and log-probabilities differ by about 3e-6 between correct float32 implementations.
constexpr double kFloat32 = 1e-5;
// A bf16 operand is off by at most 2^-9 of itself. The logits of these models (width 40 and 64, 2 and 4 layers) are
// sums of some 50 products of size 1 whose errors add up like noise: 2^-9 * sqrt(50) * (about 10 products in sequence)
// < 0.2.
constexpr double kBf16 = 0.2;

namespace fs = std::filesystem;

// One run of eval_lm.json: "moe_cw0_f0.25" evaluates the model in moe/.
struct EvalRun {
  EvalRun(const fs::path& data, const std::string& name, const nlohmann::json& values)
      : name(name), values(values), folder(data / name.substr(0, name.find("_cw"))) {
    const nlohmann::json& fraction = values.at("capacity_fraction");
    options = {.context = values.at("tokens_per_sample"),
               .batch_sequences = values.at("batch_size"),
               .fairseq = true,
               .context_window = values.at("context_window")};
    if (fraction.is_null())
      options.capacity = {CapacityRule::kConfigured};
    else if (fraction.get<double>() < 0)
      options.capacity = {CapacityRule::kTraining};
    else
      options.capacity = {CapacityRule::kFraction, fraction.get<double>()};
  }
  std::string name;
  nlohmann::json values;
  fs::path folder;
  PerplexityOptions options;
};

std::vector<EvalRun> runs_of(const fs::path& data) {
  std::vector<EvalRun> runs;
  const nlohmann::json listed = read_json_file(test::present(data / "eval/eval_lm.json"));
  for (const auto& [name, values] : listed.items()) {
    EvalRun run(data, name, values);
    if (test::has_initial_model(run.folder))
      runs.push_back(std::move(run));
    else
      fmt::print("not in the data: {}\n", run.folder.string());
  }
  return runs;
}

EvalText text_of(const fs::path& data) {
  test::present(data / "data/bin/valid.idx"), test::present(data / "data/bin/valid.bin");
  return read_eval_fairseq("valid", data / "data/bin/valid", FairseqDictionary::kEos);
}

TROUPE_GOLDEN_TEST(FairseqEvalLm, PutsTheSameBlocksIntoTheSameBatches) {
  const fs::path data = test::fairseq_folder();
  const EvalText text = text_of(data);
  const SafetensorsFile tensors(test::present(data / "eval/eval_lm.safetensors"));
  for (const EvalRun& run : runs_of(data)) {
    SCOPED_TRACE(run.name);
    const auto model = test::load_golden(run.folder, Precision::kFp32);
    const BatchPlan plan = plan_batches(text, run.options, model->config());
    const nlohmann::json& batches = run.values.at("batches");
    ASSERT_EQ(plan.batches.size(), batches.size());
    for (size_t i = 0; i < plan.batches.size(); ++i) {
      EXPECT_EQ(plan.batches[i], batches[i].at("ids").get<std::vector<int64_t>>()) << "batch " << i;
      const Batch batch = make_batch(text, plan.windows, plan.batches[i], plan.width, model->config());
      const std::string prefix = run.name + ".batch" + std::to_string(i);
      EXPECT_EQ(batch.src, test::ids_of(tensors, prefix + ".src_tokens")) << prefix;
      std::vector<int32_t> targets = test::ids_of(tensors, prefix + ".target");
      std::replace(targets.begin(), targets.end(), FairseqDictionary::kPad, -1);
      EXPECT_EQ(batch.tgt, targets) << prefix;
    }
  }
}

void expect_scores(const fs::path& data, Precision precision) {
  const double tolerance = precision == Precision::kFp32 ? kFloat32 : kBf16;
  const EvalText text = text_of(data);
  const SafetensorsFile tensors(test::present(data / "eval/eval_lm.safetensors"));
  for (const EvalRun& run : runs_of(data)) {
    SCOPED_TRACE(run.name);
    const auto model = test::load_golden(run.folder, precision);
    const BatchPlan plan = plan_batches(text, run.options, model->config());
    double difference = 0.0, squares = 0.0;
    int64_t scores = 0;
    for (size_t i = 0; i < plan.batches.size(); ++i) {
      const Batch batch = make_batch(text, plan.windows, plan.batches[i], plan.width, model->config());
      std::vector<float> nll(static_cast<size_t>(batch.tokens()));
      model->score(batch, {.capacity = run.options.capacity}, nll);
      for (int64_t row = 0; row < batch.B; ++row) {
        const std::string name = run.name + ".batch" + std::to_string(i) + ".row" + std::to_string(row) + ".scores";
        test::tensor_of(tensors, name);
        const Tensor expected = tensors.read_f32(name);
        const float* score = expected.as<float>().data();
        int64_t count = 0;
        for (int64_t t = 0; t < batch.S; ++t) {
          const auto at = static_cast<size_t>(row * batch.S + t);
          if (batch.tgt[at] < 0) continue;
          const double error = -double{nll[at]} - double{score[count++]};
          difference = std::max(difference, std::abs(error));
          squares += error * error;
        }
        EXPECT_EQ(count, expected.size());
        scores += count;
      }
    }
    // Capacity makes routing depend on bf16's rounding: a token that moves to another expert moves its score by more.
    const bool routed = model->config().moe.num_experts > 0 && precision == Precision::kBf16;
    EXPECT_LE(routed ? std::sqrt(squares / static_cast<double>(scores)) : difference, tolerance);

    const PerplexityResult result = evaluate_perplexity(*model, text, run.options);
    EXPECT_EQ(result.sum.tokens, run.values.at("scored_tokens").get<int64_t>());
    const double loss = run.values.at("loss_base2"), mean_tolerance = precision == Precision::kFp32 ? 2e-6 : 0.02;
    EXPECT_NEAR(result.nll() / std::log(2.0), loss, mean_tolerance * loss);
    EXPECT_NEAR(result.perplexity(), run.values.at("perplexity").get<double>(),
                run.values.at("perplexity").get<double>() * mean_tolerance * loss);
  }
}

TROUPE_GOLDEN_TEST(FairseqEvalLm, GivesTheSameScores) { expect_scores(test::fairseq_folder(), Precision::kFp32); }

TEST(FairseqEvalLm, GivesTheSameScoresWithinBf16) { expect_scores(test::committed_fairseq(), Precision::kBf16); }

TROUPE_GOLDEN_TEST(FairseqEvalLmData, TextLinesGiveTheBinaryIds) {
  const FairseqDictionary dictionary = FairseqDictionary::load(test::present(test::fairseq("data/dict.txt")));
  std::ifstream file(test::present(test::fairseq("data/valid.txt")));
  std::vector<int32_t> ids;
  for (std::string line; std::getline(file, line);)
    for (const int32_t id : test::encode_line(dictionary, line)) ids.push_back(id);
  EXPECT_EQ(ids, text_of(test::fairseq_folder()).ids);
}

bool is_there(const nlohmann::json& hub, const std::string& name) {
  if (!hub.contains(name)) fmt::print("not in the data: {} of eval/hub.json\n", name);
  return hub.contains(name);
}

// hub score(): every line encoded on its own, </s> stripped at both ends, </s> in front.
std::vector<int32_t> hub_tokens(const FairseqDictionary& dictionary, const std::vector<std::string>& lines) {
  std::vector<int32_t> ids;
  for (const std::string& line : lines)
    for (const int32_t id : test::encode_line(dictionary, line)) ids.push_back(id);
  return test::strip_eos(ids);
}

void expect_hub_scores(LanguageModel& model, const std::vector<int32_t>& tokens, const nlohmann::json& expected,
                       const CapacityRule& capacity) {
  // The last token is an input too, although nothing after it is scored: it takes places in the experts.
  Batch batch{.B = 1, .S = static_cast<int64_t>(tokens.size()) + 1, .src = {FairseqDictionary::kEos}, .tgt = tokens};
  batch.src.insert(batch.src.end(), tokens.begin(), tokens.end());
  batch.tgt.push_back(-1);
  std::vector<float> nll(batch.src.size());
  const LossSum sum = model.score(batch, {.capacity = capacity}, nll);
  const auto scores = expected.at("positional_scores").get<std::vector<double>>();
  ASSERT_EQ(scores.size(), tokens.size());
  for (size_t i = 0; i < scores.size(); ++i) EXPECT_NEAR(-nll[i], scores[i], kFloat32) << "token " << i;
  EXPECT_NEAR(-sum.nll / static_cast<double>(sum.tokens), expected.at("score").get<double>(), kFloat32);
}

TROUPE_GOLDEN_TEST(FairseqHub, EncodesTheSameIds) {
  const FairseqDictionary dictionary = FairseqDictionary::load(test::present(test::fairseq("data/dict.txt")));
  const nlohmann::json hub = read_json_file(test::present(test::fairseq("eval/hub.json")));
  for (const auto& [text, ids] : hub.at("encode").items())
    EXPECT_EQ(test::encode_line(dictionary, text), ids.get<std::vector<int32_t>>()) << text;
  for (const char* name : {"dense_lines", "moe_lines"})
    if (is_there(hub, name)) {
      EXPECT_EQ(hub_tokens(dictionary, hub.at(name).at("lines")),
                hub.at(name).at("tokens").get<std::vector<int32_t>>());
    }
}

TROUPE_GOLDEN_TEST(FairseqHub, GivesTheSameScores) {
  const FairseqDictionary dictionary = FairseqDictionary::load(test::present(test::fairseq("data/dict.txt")));
  const nlohmann::json hub = read_json_file(test::present(test::fairseq("eval/hub.json")));
  for (const std::string name : {"dense", "moe"}) {
    if (!is_there(hub, name)) continue;
    if (!test::has_initial_model(test::fairseq(name))) {
      fmt::print("not in the data: {}\n", test::fairseq(name).string());
      continue;
    }
    const auto model = test::load_golden(test::fairseq(name), Precision::kFp32);
    for (size_t i = 0; i < hub.at("sentences").size(); ++i) {
      const auto tokens = hub_tokens(dictionary, {hub.at("sentences")[i]});
      EXPECT_EQ(tokens, hub.at(name)[i].at("tokens").get<std::vector<int32_t>>());
      expect_hub_scores(*model, tokens, hub.at(name)[i], {CapacityRule::kTraining});
    }
    if (!is_there(hub, name + "_lines")) continue;
    const nlohmann::json& lines = hub.at(name + "_lines");
    expect_hub_scores(*model, hub_tokens(dictionary, lines.at("lines")), lines, {CapacityRule::kTraining});
  }
}

TROUPE_GOLDEN_TEST(FairseqHub, ContinuesGreedilyWithTheSameTokens) {
  const nlohmann::json hub = read_json_file(test::present(test::fairseq("eval/hub.json")));
  const auto model = test::load_golden(test::fairseq("dense"), Precision::kFp32);
  for (const nlohmann::json& expected : hub.at("dense_greedy")) {
    const auto tokens = expected.at("tokens").get<std::vector<int32_t>>();
    const auto scores = expected.at("positional_scores").get<std::vector<double>>();
    const size_t given = expected.at("prefix").size();
    ASSERT_EQ(tokens.size(), scores.size());
    std::vector<ScoreRequest> requests;  // one a token
    std::vector<int32_t> before = {FairseqDictionary::kEos};
    for (const int32_t token : tokens) {
      requests.push_back({before, {token}});
      before.push_back(token);
    }
    RequestStats stats;
    const std::vector<ScoreAnswer> answers = score_requests(*model, requests, {}, stats);
    for (size_t i = 0; i < scores.size(); ++i) {
      EXPECT_NEAR(answers[i].logprob, scores[i], kFloat32) << "token " << i;
      // fairseq ends a continuation at its length limit with </s>, most probable or not.
      if (i >= given && i + 1 < tokens.size()) {
        EXPECT_TRUE(answers[i].is_greedy) << "token " << i;
      }
    }
  }
}

TROUPE_GOLDEN_TEST(ScoreFile, GivesForwardPassesLogProbabilities) {
  const fs::path folder = test::fairseq("moe");
  const SafetensorsFile golden(test::present(folder / "forward.safetensors"));
  const auto model = test::load_golden(folder, Precision::kFp32);
  test::TemporaryFolder work;
  const std::string end = ".target_logprob", by_fraction = "eval_fraction_";
  for (const TensorView& tensor : golden.tensors()) {
    if (!tensor.name.ends_with(end)) continue;
    const std::string key = tensor.name.substr(0, tensor.name.size() - end.size());
    const std::string batch = key == "padded" ? "padded." : "";
    CapacityRule rule{CapacityRule::kTraining};
    if (key.starts_with(by_fraction)) {
      const double fraction = std::stod(key.substr(by_fraction.size()));
      if (fraction >= 0) rule = {CapacityRule::kFraction, fraction};
    }
    test::tensor_of(golden, batch + "src_tokens"), test::tensor_of(golden, batch + "target");
    const Tensor src = golden.read(batch + "src_tokens"), tgt = golden.read(batch + "target");
    write_safetensors(work / "in.safetensors", {{"src", DType::kI64, src.shape(), src.as<int64_t>().data()},
                                                {"tgt", DType::kI64, tgt.shape(), tgt.as<int64_t>().data()}});
    const LossSum sum = score_file(*model, work / "in.safetensors", work / "out.safetensors", rule);
    const Tensor expected = golden.read_f32(tensor.name);
    const Tensor scores = SafetensorsFile(work / "out.safetensors").read_f32("logprobs");
    ASSERT_EQ(scores.shape(), expected.shape()) << key;
    for (int64_t i = 0; i < scores.size(); ++i)
      EXPECT_NEAR(scores.as<float>()[i], expected.as<float>()[i], kFloat32) << key << " token " << i;
    // The share of choices dropped, over all MoE layers.
    double percent = 0.0;
    size_t count = 0;
    for (const TensorView& layer : golden.tensors())
      if (layer.name.starts_with(key + ".moe") && layer.name.ends_with(".overflow_percent"))
        for (const double value : test::values_of<double>(golden, layer.name)) percent += value, ++count;
    ASSERT_GT(count, 0u) << key;
    EXPECT_NEAR(100.0 * sum.drop_rate(), percent / static_cast<double>(count), 1e-3) << key;
  }
}

}  // namespace
}  // namespace troupe
