#include "study/token_plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "io/atomic_file.h"
#include "temporary_folder.h"
#include "troupe/error.h"

namespace troupe {
namespace {

using test::TemporaryFolder;
using testing::HasSubstr;

// A machine on which the first model trains 1000 and the second 500 tokens a second.
struct Machine {
  TemporaryFolder folder;
  std::filesystem::path file = folder / "plan.json";
  int probes = 0;
  std::vector<double> slower = {};  // by how much, round by round; then by nothing

  int64_t plan(const StudyConfig& study) {
    const MeasureSpeed speed = [&](size_t model, double) {
      const size_t round = static_cast<size_t>(probes++) / 2;
      return (model == 0 ? 1000.0 : 500.0) / (round < slower.size() ? slower[round] : 1.0);
    };
    return plan_tokens(study, {"dense", "moe"}, 64, speed, file);
  }
};

StudyConfig asking(int64_t tokens, double max_minutes) {
  StudyConfig study;
  study.tokens = tokens, study.max_minutes = max_minutes;
  return study;
}

TEST(TokenPlan, IsAllThatWasAskedForWithoutALimit) {
  Machine machine;
  EXPECT_EQ(machine.plan(asking(1'000'000, 0.0)), 1'000'000);
  EXPECT_EQ(machine.probes, 0);
  EXPECT_FALSE(std::filesystem::exists(machine.file));
}

// 3 ms for a token of both models; 0.9 of a minute is time for 18,000, which are 281 updates of 64.
TEST(TokenPlan, IsWholeUpdatesThatFitTheTimeOfAllModelsAndSeeds) {
  Machine machine;
  EXPECT_EQ(machine.plan(asking(1'000'000, 1.0)), 281 * 64);
  StudyConfig twice = asking(1'000'000, 1.0);
  twice.seeds = {1, 2};
  EXPECT_EQ(machine.plan(twice), 140 * 64);
  EXPECT_EQ(machine.plan(asking(17'999, 1.0)), 17'999);  // there is time for all
  EXPECT_EQ(machine.plan(asking(1'000'000, 0.001)), 20 * 64);  // the fewest
  EXPECT_EQ(machine.plan(asking(100, 0.001)), 100);
}

TEST(TokenPlan, IsThatOfAnUndisturbedMachineThoughOtherProgramsComeAndGo) {
  Machine machine;
  machine.slower = {4.0, 1.0, 1.1, 3.0};
  EXPECT_EQ(machine.plan(asking(1'000'000, 1.0)), 281 * 64);
  EXPECT_EQ(machine.probes, 14);  // seven rounds
  Machine steady;
  steady.slower = {1.2, 1.1, 1.0};
  EXPECT_EQ(steady.plan(asking(1'000'000, 1.0)), 255 * 64);
  EXPECT_EQ(steady.probes, 6);
}

TEST(TokenPlan, IsKeptWhileTheStudyAsksForTheSame) {
  Machine machine;
  const StudyConfig study = asking(1'000'000, 1.0);
  const int64_t tokens = machine.plan(study);
  const int64_t written = std::filesystem::file_size(machine.file);
  EXPECT_EQ(machine.probes, 6);
  write_file_atomically(machine.file, R"({"asked": {"tokens": 1000000, "max_minutes": 1.0}, "tokens": 640})");
  EXPECT_EQ(machine.plan(study), 640);
  EXPECT_EQ(machine.probes, 6);
  EXPECT_EQ(machine.plan(asking(1'000'000, 2.0)), 2 * tokens);
  EXPECT_EQ(machine.probes, 12);
  EXPECT_EQ(machine.plan(study), tokens);
  EXPECT_EQ(static_cast<int64_t>(std::filesystem::file_size(machine.file)), written);
}

TEST(TokenPlan, NamesWhatIsWrongInAPlan) {
  Machine machine;
  const auto error_of = [&](const std::string& text) -> std::string {
    write_file_atomically(machine.file, text);
    try {
      machine.plan(asking(1'000'000, 1.0));
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kData);
      return error.what();
    }
    return "no error";
  };
  EXPECT_THAT(error_of(R"({"tokens": 640})"), HasSubstr("plan.json: asked: expected a value, got no such key"));
  EXPECT_THAT(error_of(R"({"asked": {"tokens": 1, "max_minutes": "x"}, "tokens": 640})"),
              HasSubstr("plan.json: asked.max_minutes: expected a number, got \"x\""));
  for (const char* tokens : {"-1", "1.5", "18446744073709551615", "null"})
    EXPECT_THAT(error_of(std::string(R"({"asked": {"tokens": 1, "max_minutes": 1}, "tokens": )") + tokens + "}"),
                HasSubstr("plan.json: tokens: expected a count, got")) << tokens;
  EXPECT_THAT(error_of(R"({"asked": {"tokens": 1, "max_minutes": 1}, "tokens": 0})"),
              HasSubstr("plan.json: tokens: expected a number of at least 1, got 0"));
}

}  // namespace
}  // namespace troupe
