// The parts of a study by themselves: data made once and reused, a plan that is kept, results that are read back while
// what they were made from stands.
#include <fmt/core.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "data/shards/dataset.h"
#include "data/tokenizer/tokenizer.h"
#include "error_of.h"
#include "io/atomic_file.h"
#include "io/json_file.h"
#include "log_capture.h"
#include "model/model_directory.h"
#include "study/probe.h"
#include "study/study.h"
#include "study/study_report.h"
#include "temporary_folder.h"

namespace troupe {
namespace {

namespace fs = std::filesystem;
using test::error_of;
using test::TemporaryFolder;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

constexpr int64_t kVocab = 300;
const fs::path kCorpus = fs::path(TROUPE_TEST_DATA) / "corpus";

RunConfig small_config() {
  RunConfig config;
  config.model = {.num_layers = 1, .d_model = 16, .num_heads = 1, .d_ff = 16, .vocab_size = kVocab, .context = 16};
  config.train.batch_sequences = 4;
  config.train.precision = PrecisionChoice::kFp32;
  return config;
}
std::string small_toml(int64_t experts) {
  return fmt::format(
      "[model]\nnum_layers = 1\nd_model = 16\nnum_heads = 1\nd_ff = 16\ncontext = 16\n[model.moe]\nnum_experts = {}\n"
      "every = 1\n[train]\nbatch_sequences = 4\nprecision = \"fp32\"\nlog_every = 1\n",
      experts);
}

// What a study says, and whether it should stop.
struct Said {
  std::string text;
  StudyEvents events = {.step = [](const std::string&, const StepStats&, int64_t, double) {},
                        .evaluation = [](const std::string&, double) {},
                        .interrupted = {}};
};

TEST(StudyData, IsMadeOnceAndIsWhatTheCorpusHolds) {
  const TemporaryFolder folder;
  test::LogCapture first_log;
  const StudyData data = prepare_study_data(kCorpus, kVocab, folder.path());
  EXPECT_THAT(first_log.end(), HasSubstr("tokenizer: learning 300 tokens"));
  EXPECT_EQ(Tokenizer::load(data.tokenizer.string()).vocab_size(), kVocab);
  ASSERT_EQ(data.train.size(), 1u);
  ASSERT_EQ(data.evaluation.size(), 2u);
  EXPECT_EQ(TokenDataset(data.train[0].dataset).documents(), 120);
  EXPECT_EQ(TokenDataset(data.evaluation[0].dataset).documents(), 12);
  EXPECT_EQ(TokenDataset(data.evaluation[1].dataset).documents(), 1);
  // The held-out domain is another one than that of its name.
  EXPECT_TRUE(data.evaluation[0].in_domain && !data.evaluation[0].held_out);
  EXPECT_TRUE(data.evaluation[1].held_out && !data.evaluation[1].in_domain);

  const fs::file_time_type written = fs::last_write_time(data.tokenizer);
  test::LogCapture second_log;
  const StudyData again = prepare_study_data(kCorpus, kVocab, folder.path());
  EXPECT_EQ(second_log.end(), "");
  EXPECT_EQ(fs::last_write_time(data.tokenizer), written);
  EXPECT_EQ(again.evaluation[1].dataset, data.evaluation[1].dataset);

  EXPECT_THAT(error_of([&] { prepare_study_data(kCorpus, kVocab + 1, folder.path()); }, ErrorCode::kUsage),
              HasSubstr("with 301 tokens, got data made from another corpus or vocabulary"));
  EXPECT_EQ(TokenDataset(data.train[0].dataset).documents(), 120);

  // What was begun and not finished is made anew.
  write_file_atomically(folder / "data/made-from.json", R"({"unfinished": true})");
  fs::remove_all(data.train[0].dataset);
  prepare_study_data(kCorpus, kVocab, folder.path());
  EXPECT_EQ(TokenDataset(data.train[0].dataset).documents(), 120);
}

TEST(StudyData, NeedsTextEnoughForItsVocabulary) {
  const TemporaryFolder folder;
  EXPECT_THAT(error_of([&] { prepare_study_data(kCorpus, 1 << 20, folder.path()); }),
              HasSubstr("study.vocab_size: expected text for 1048576 tokens, got enough for "));
}

TEST(ModelEvaluation, IsReadBackWhileModelDataAndSettingsAreTheSame) {
  const TemporaryFolder folder;
  const StudyData data = prepare_study_data(kCorpus, kVocab, folder / "study");
  RunConfig run = small_config();
  run.model.eos_id = Tokenizer::load(data.tokenizer.string()).end_of_text();
  LanguageModel model(run.model, Precision::kFp32);
  const auto save = [&](uint64_t seed) {
    fs::create_directories(folder / "model");
    initialize(model.params(), seed);
    write_model(folder / "model", run.model, std::as_const(model).params());
  };
  save(1);
  StudyConfig config;
  config.prompts = {"a"}, config.sample_tokens = 3;
  int64_t scored = 0;
  const auto evaluate = [&] {
    scored = 0;
    return evaluate_model(folder / "model", folder / "evaluation.json", config, data, [&] {
      return score_domains(folder / "model", config, data, [&](const std::string&, double) { ++scored; }, nullptr);
    });
  };
  const ModelEvaluation first = evaluate();
  EXPECT_GT(scored, 0);
  ASSERT_EQ(first.domains.size(), 2u);
  EXPECT_EQ(first.domains[0].tokens, TokenDataset(data.evaluation[0].dataset).tokens());
  EXPECT_NEAR(first.domains[0].nll, std::log(kVocab), 0.5);
  ASSERT_EQ(first.samples.size(), 1u);

  const ModelEvaluation second = evaluate();
  EXPECT_EQ(scored, 0);
  ASSERT_EQ(second.domains.size(), 2u);
  for (size_t d = 0; d < 2; ++d) {
    EXPECT_EQ(second.domains[d].nll, first.domains[d].nll);
    EXPECT_EQ(second.domains[d].label(), first.domains[d].label());
    EXPECT_EQ(second.domains[d].documents.size(), first.domains[d].documents.size());
  }
  EXPECT_EQ(second.samples[0].text, first.samples[0].text);

  for (const auto& change : std::vector<std::function<void()>>{
           [&] { config.valid_tokens = 500; }, [&] { config.seed = 2; }, [&] { config.sample_tokens = 4; },
           [&] { config.sample_temperature = 0.5; }, [&] { config.prompts = {"b"}; }, [&] { save(2); }}) {
    change();
    evaluate();
    EXPECT_GT(scored, 0);
    evaluate();
    EXPECT_EQ(scored, 0);
  }
  EXPECT_LE(evaluate().domains[0].tokens, 500);
  nlohmann::json damaged = read_json_file(folder / "evaluation.json");
  damaged["domains"][0]["nll"] = "low";
  write_json_file(folder / "evaluation.json", damaged);
  EXPECT_THAT(error_of(evaluate), HasSubstr("evaluation.json: domains[0].nll: expected"));
}

TEST(ProbeTraining, IsARateOfStepsThatHappened) {
  RunConfig config = small_config();
  EXPECT_GT(probe_training(config, 0.0), 0.0);
  config.train.micro_sequences = 2, config.train.recompute = true;
  EXPECT_GT(probe_training(config, 0.0), 0.0);
}

StudyConfig small_study(const TemporaryFolder& folder) {
  write_file_atomically(folder / "dense.toml", small_toml(0));
  write_file_atomically(folder / "moe.toml", small_toml(2));
  StudyConfig config;
  config.corpus = kCorpus.string(), config.vocab_size = kVocab;
  config.models = {"dense=" + (folder / "dense.toml").string(), "moe=" + (folder / "moe.toml").string()};
  config.tokens = 1280, config.prompts = {"a"}, config.sample_tokens = 3;
  return config;
}
StudyResult study(const StudyConfig& config, const fs::path& out, Said& said) {
  test::LogCapture log;
  StudyResult result = run_study(config, read_models(config), out, {}, said.events);
  said.text = log.end();
  return result;
}

TEST(Study, TrainsEvaluatesAndComparesOnce) {
  const TemporaryFolder folder;
  StudyConfig config = small_study(folder);
  Said said;
  const StudyResult first = study(config, folder / "out", said);
  EXPECT_EQ(first.planned_tokens, 1280);
  ASSERT_EQ(first.models().size(), 2u);
  EXPECT_EQ(first.models()[1].name, "moe");
  EXPECT_EQ(first.models()[1].tokens, 1280);
  EXPECT_TRUE(first.models()[1].is_moe() && first.models()[1].is_finished());
  ASSERT_EQ(first.comparisons.size(), 2u);
  const auto score = [&](size_t m) { return first.models()[m].domains[0].nll; };
  EXPECT_NEAR(first.comparisons[0].difference.difference, score(1) - score(0), 1e-12);

  // Rows of the table are texts, its columns models; the page has the same figures.
  const TextTable table = study_table(first);
  EXPECT_THAT(table.front(), ElementsAre(testing::_, "dense", "moe"));
  const std::string perplexity = fmt::format("{:.2f}", first.models()[1].domains[0].perplexity());
  bool found = false;
  for (const auto& row : table) found |= row.back() == perplexity;
  EXPECT_TRUE(found) << perplexity;
  const Report report = make_report(first);
  EXPECT_EQ(report.models.size(), 2u);
  EXPECT_THAT(to_html(report), HasSubstr(perplexity));

  const StudyResult again = study(config, folder / "out", said);
  EXPECT_THAT(said.text, HasSubstr("dense: trained before\nmoe: trained before\n"));
  EXPECT_EQ(again.models()[1].domains[0].nll, score(1));

  config.tokens = 640;
  EXPECT_THAT(error_of([&] { study(config, folder / "out", said); }, ErrorCode::kUsage),
              HasSubstr("dense: expected a run with the settings of this study, got one with others"));
}

TEST(Study, AnInterruptedOneGoesOnToTheSameModels) {
  const TemporaryFolder folder;
  const StudyConfig config = small_study(folder);
  Said said;
  study(config, folder / "whole", said);
  int64_t steps = 0;
  said.events.step = [&](const std::string&, const StepStats&, int64_t, double) { ++steps; };
  said.events.interrupted = [&] { return steps == 23; };  // of 20 each
  EXPECT_THAT(error_of([&] { study(config, folder / "parts", said); }, ErrorCode::kInterrupted),
              HasSubstr("interrupted in moe after step 3: run the same command again to go on"));
  said.events.interrupted = {};
  study(config, folder / "parts", said);
  EXPECT_THAT(said.text, HasSubstr("dense: trained before"));
  EXPECT_EQ(steps, 40);
  for (const char* model : {"dense", "moe"})
    EXPECT_EQ(read_file(folder / "whole" / model / "model/model.safetensors"),
              read_file(folder / "parts" / model / "model/model.safetensors"));
}

// No fewer than 20 steps, no more than what was asked for; a plan is kept until other things are asked.
TEST(Study, PlansTokensByTheSpeedOfTheMachineOnce) {
  const TemporaryFolder folder;
  StudyConfig config = small_study(folder);
  config.models.pop_back();
  config.tokens = 100'000;
  config.max_minutes = 1e-6;
  Said said;
  EXPECT_EQ(study(config, folder / "out", said).planned_tokens, 20 * 4 * 16);
  EXPECT_THAT(said.text, HasSubstr("probe: dense: "));
  EXPECT_THAT(said.text, HasSubstr("for 100000 tokens per model; training on 1280 instead"));
  EXPECT_EQ(study(config, folder / "out", said).planned_tokens, 1280);
  EXPECT_THAT(said.text, Not(HasSubstr("probe")));
}

}  // namespace
}  // namespace troupe
