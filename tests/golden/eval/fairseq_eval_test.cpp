// fairseq's eval_lm and hub, score by score (tests/data/golden/fairseq-small/eval).
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>

#include "data/fairseq/dictionary.h"
#include "eval/perplexity.h"
#include "eval/score_file.h"
#include "infer/prefix_scorer.h"
#include "io/safetensors.h"
#include "model/fairseq_model.h"
#include "model/language_model.h"
#include "temporary_folder.h"

namespace troupe {
namespace {

const std::filesystem::path kGolden = std::filesystem::path(TROUPE_TEST_DATA) / "golden" / "fairseq-small";

// The README's: logits and log-probabilities differ by about 3e-6 between correct float32 implementations.
constexpr double kFloat32 = 1e-5;
// A bf16 operand is off by at most 2^-9 of itself. The logits of these models (width 40 and 64, 2 and 4 layers) are
// sums of some 50 products of size 1 whose errors add up like noise: 2^-9 * sqrt(50) * (about 10 products in sequence)
// < 0.2.
constexpr double kBf16 = 0.2;

std::unique_ptr<LanguageModel> golden_model(const std::string& name, Precision precision = Precision::kFp32) {
  const FairseqCheckpoint checkpoint(kGolden / name / (name == "moe" ? "model-shared.pt" : "model.pt"));
  auto model = std::make_unique<LanguageModel>(config_of(checkpoint), precision);
  check_tensors(checkpoint, model->table());
  for (const Parameter& parameter : model->table().entries())
    read_parameter(checkpoint, parameter, model->params().at(parameter.slot));
  return model;
}

nlohmann::json read_json(const std::string& name) {
  std::ifstream file(kGolden / "eval" / name);
  return nlohmann::json::parse(file);
}

std::vector<int32_t> read_ids(const SafetensorsFile& file, const std::string& name) {
  const Tensor tensor = file.read(name);
  const int64_t* ids = tensor.as<int64_t>().data();
  return {ids, ids + tensor.size()};
}

struct Run {
  const char* name;
  const char* model;
  int64_t context_window;
  CapacityRule capacity;
};

class FairseqEvalLm : public testing::TestWithParam<Run> {
 protected:
  PerplexityOptions options() const {
    const nlohmann::json& run = runs.at(GetParam().name);
    return {.context = run.at("tokens_per_sample"),
            .batch_sequences = run.at("batch_size"),
            .capacity = GetParam().capacity,
            .fairseq = true,
            .context_window = GetParam().context_window};
  }
  nlohmann::json runs = read_json("eval_lm.json");
  EvalText text = read_eval_fairseq("valid", kGolden / "data" / "bin" / "valid", FairseqDictionary::kEos);
};

TEST_P(FairseqEvalLm, PutsTheSameBlocksIntoTheSameBatches) {
  const auto model = golden_model(GetParam().model);
  const BatchPlan plan = plan_batches(text, options(), model->config());
  const nlohmann::json& batches = runs.at(GetParam().name).at("batches");
  const SafetensorsFile tensors(kGolden / "eval" / "eval_lm.safetensors");
  ASSERT_EQ(plan.batches.size(), batches.size());
  for (size_t i = 0; i < plan.batches.size(); ++i) {
    EXPECT_EQ(plan.batches[i], batches[i].at("ids").get<std::vector<int64_t>>()) << "batch " << i;
    const Batch batch = make_batch(text, plan.windows, plan.batches[i], plan.width, model->config());
    const std::string prefix = std::string(GetParam().name) + ".batch" + std::to_string(i);
    EXPECT_EQ(batch.src, read_ids(tensors, prefix + ".src_tokens")) << prefix;
    std::vector<int32_t> targets = read_ids(tensors, prefix + ".target");
    std::replace(targets.begin(), targets.end(), FairseqDictionary::kPad, -1);
    EXPECT_EQ(batch.tgt, targets) << prefix;
  }
}

TEST_P(FairseqEvalLm, GivesTheSameScores) {
  for (const Precision precision : {Precision::kFp32, Precision::kBf16}) {
    const double tolerance = precision == Precision::kFp32 ? kFloat32 : kBf16;
    const auto model = golden_model(GetParam().model, precision);
    const BatchPlan plan = plan_batches(text, options(), model->config());
    const SafetensorsFile tensors(kGolden / "eval" / "eval_lm.safetensors");
    double difference = 0.0, squares = 0.0;
    int64_t scores = 0;
    for (size_t i = 0; i < plan.batches.size(); ++i) {
      const Batch batch = make_batch(text, plan.windows, plan.batches[i], plan.width, model->config());
      std::vector<float> nll(static_cast<size_t>(batch.tokens()));
      model->score(batch, {.capacity = options().capacity}, nll);
      for (int64_t row = 0; row < batch.B; ++row) {
        const Tensor expected = tensors.read_f32(std::string(GetParam().name) + ".batch" + std::to_string(i) + ".row" +
                                                 std::to_string(row) + ".scores");
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
    const bool routed = std::string(GetParam().model) == "moe" && precision == Precision::kBf16;
    EXPECT_LE(routed ? std::sqrt(squares / static_cast<double>(scores)) : difference, tolerance);

    const nlohmann::json& run = runs.at(GetParam().name);
    const PerplexityResult result = evaluate_perplexity(*model, text, options());
    EXPECT_EQ(result.sum.tokens, run.at("scored_tokens").get<int64_t>());
    const double loss = run.at("loss_base2"), mean_tolerance = precision == Precision::kFp32 ? 2e-6 : 0.02;
    EXPECT_NEAR(result.nll() / std::log(2.0), loss, mean_tolerance * loss);
    EXPECT_NEAR(result.perplexity(), run.at("perplexity").get<double>(),
                run.at("perplexity").get<double>() * mean_tolerance * loss);
  }
}

INSTANTIATE_TEST_SUITE_P(Runs, FairseqEvalLm,
                         testing::Values(Run{"dense_cw0", "dense", 0, {CapacityRule::kConfigured}},
                                         Run{"dense_cw16", "dense", 16, {CapacityRule::kConfigured}},
                                         Run{"moe_cw0_f0.25", "moe", 0, {CapacityRule::kFraction, 0.25}},
                                         Run{"moe_cw0_f0.05", "moe", 0, {CapacityRule::kFraction, 0.05}}),
                         [](const auto& info) {
                           std::string name = info.param.name;
                           std::replace(name.begin(), name.end(), '.', '_');
                           return name;
                         });

TEST(FairseqEvalLmData, TextLinesGiveTheBinaryIds) {
  const FairseqDictionary dictionary = FairseqDictionary::load(kGolden / "data" / "dict.txt");
  EXPECT_EQ(dictionary.size(), 512);
  std::ifstream file(kGolden / "data" / "valid.txt");
  std::vector<int32_t> ids;
  for (std::string line; std::getline(file, line);)
    for (const int32_t id : dictionary.encode_line(line)) ids.push_back(id);
  EXPECT_EQ(ids, read_eval_fairseq("valid", kGolden / "data" / "bin" / "valid.idx", 2).ids);
}

// hub score(): every line encoded on its own, </s> stripped at both ends, </s> in front.
std::vector<int32_t> hub_tokens(const FairseqDictionary& dictionary, const std::vector<std::string>& lines) {
  std::vector<int32_t> ids;
  for (const std::string& line : lines)
    for (const int32_t id : dictionary.encode_line(line)) ids.push_back(id);
  return strip_eos(ids);
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

TEST(FairseqHub, EncodesTheSameIds) {
  const FairseqDictionary dictionary = FairseqDictionary::load(kGolden / "data" / "dict.txt");
  const nlohmann::json hub = read_json("hub.json");
  for (const auto& [text, ids] : hub.at("encode").items())
    EXPECT_EQ(dictionary.encode_line(text), ids.get<std::vector<int32_t>>()) << text;
  for (const char* name : {"dense_lines", "moe_lines"})
    EXPECT_EQ(hub_tokens(dictionary, hub.at(name).at("lines")), hub.at(name).at("tokens").get<std::vector<int32_t>>());
}

TEST(FairseqHub, GivesTheSameScores) {
  const FairseqDictionary dictionary = FairseqDictionary::load(kGolden / "data" / "dict.txt");
  const nlohmann::json hub = read_json("hub.json");
  for (const std::string name : {"dense", "moe"}) {
    const auto model = golden_model(name);
    for (size_t i = 0; i < hub.at("sentences").size(); ++i) {
      const auto tokens = hub_tokens(dictionary, {hub.at("sentences")[i]});
      EXPECT_EQ(tokens, hub.at(name)[i].at("tokens").get<std::vector<int32_t>>());
      expect_hub_scores(*model, tokens, hub.at(name)[i], {CapacityRule::kTraining});
    }
    const nlohmann::json& lines = hub.at(name + "_lines");
    expect_hub_scores(*model, hub_tokens(dictionary, lines.at("lines")), lines, {CapacityRule::kTraining});
  }
}

TEST(FairseqHub, ContinuesGreedilyWithTheSameTokens) {
  const auto model = golden_model("dense");
  const nlohmann::json hub = read_json("hub.json");
  for (const nlohmann::json& expected : hub.at("dense_greedy")) {
    const auto tokens = expected.at("tokens").get<std::vector<int32_t>>();
    const auto scores = expected.at("positional_scores").get<std::vector<double>>();
    const size_t given = expected.at("prefix").size();
    const std::vector<int32_t> start = {FairseqDictionary::kEos};
    const std::vector<std::vector<int32_t>> continuations = {tokens};
    const ContinuationScore score = score_continuations(*model, start, continuations)[0];
    ASSERT_EQ(score.logprobs.size(), scores.size());
    for (size_t i = 0; i < scores.size(); ++i) {
      EXPECT_NEAR(score.logprobs[i], scores[i], kFloat32) << "token " << i;
      // fairseq ends a continuation at its length limit with </s>, most probable or not.
      if (i >= given && i + 1 < tokens.size()) {
        EXPECT_TRUE(score.is_greedy[i]) << "token " << i;
      }
    }
  }
}

TEST(ScoreFile, GivesForwardPassesLogProbabilities) {
  const SafetensorsFile golden(kGolden / "moe" / "forward.safetensors");
  const auto model = golden_model("moe");
  test::TemporaryFolder folder;
  for (const auto& [rule, key, batch] : {std::tuple{CapacityRule{CapacityRule::kTraining}, "train", ""},
                                         {CapacityRule{CapacityRule::kTraining}, "padded", "padded."},
                                         {CapacityRule{CapacityRule::kFraction, 0.25}, "eval_fraction_0.25", ""},
                                         {CapacityRule{CapacityRule::kFraction, 0.05}, "eval_fraction_0.05", ""}}) {
    const Tensor src = golden.read(std::string(batch) + "src_tokens"), tgt = golden.read(std::string(batch) + "target");
    write_safetensors(folder / "in.safetensors", {{"src", DType::kI64, src.shape(), src.as<int64_t>().data()},
                                                  {"tgt", DType::kI64, tgt.shape(), tgt.as<int64_t>().data()}});
    const LossSum sum = score_file(*model, folder / "in.safetensors", folder / "out.safetensors", rule);
    const Tensor expected = golden.read_f32(std::string(key) + ".target_logprob");
    const Tensor scores = SafetensorsFile(folder / "out.safetensors").read_f32("logprobs");
    ASSERT_EQ(scores.shape(), expected.shape()) << key;
    for (int64_t i = 0; i < scores.size(); ++i)
      EXPECT_NEAR(scores.as<float>()[i], expected.as<float>()[i], kFloat32) << key << " token " << i;
    EXPECT_GT(sum.drop_rate(), 0.0) << key;
  }
}

}  // namespace
}  // namespace troupe
