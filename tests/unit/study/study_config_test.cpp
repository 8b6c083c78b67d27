#include "study/study_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "error_of.h"
#include "temporary_folder.h"

namespace troupe {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

class StudyNames : public ::testing::Test {
 protected:
  std::string file() const { return (folder_ / "study.toml").string(); }
  std::string error_of_models(const std::string& list) const {
    std::ofstream(file()) << "[study]\ncorpus = \"c\"\nmodels = [" << list << "]\ntokens = 1000\n";
    return test::error_of([&] { load_study(file(), {}); }, ErrorCode::kUsage);
  }

 private:
  test::TemporaryFolder folder_;
};

TEST_F(StudyNames, AreFoldersOfTheStudyOneEach) {
  EXPECT_EQ(error_of_models("\"dense=a.toml\", \"moe=a.toml\", \"b.toml\""), "");
  EXPECT_EQ(error_of_models("\"dense=a.toml\", \"dense=b.toml\""),
            file() + ":3: study.models: expected each name once, got dense twice (write NAME=CONFIG.toml)");
  EXPECT_EQ(error_of_models("\"a/base.toml\", \"b/base.toml\""),
            file() + ":3: study.models: expected each name once, got base.toml twice (write NAME=CONFIG.toml)");
}

TEST_F(StudyNames, AreRefusedWithFileAndLine) {
  EXPECT_EQ(error_of_models(""), file() + ":3: study.models: expected at least one, got none");
  for (const char* taken : {"data", "plan.json", "summary.json", "report.html"})
    EXPECT_THAT(error_of_models("\"" + std::string(taken) + "=a.toml\""),
                StartsWith(file() + ":3: study.models: expected another name than data, "));
  for (const char* name : {"../x", "..", ".", "", "a b ", "x/y"})
    EXPECT_THAT(error_of_models("\"" + std::string(name) + "=a.toml\""),
                StartsWith(file() + ":3: study.models: expected "))
        << name;
}

TEST_F(StudyNames, AreRefusedInOverridesToo) {
  EXPECT_EQ(error_of_models("\"dense=a.toml\""), "");
  EXPECT_THAT(test::error_of([&] { load_study(file(), {"study.models=data=a.toml"}); }, ErrorCode::kUsage),
              StartsWith("--set: study.models: expected another name"));
  EXPECT_THAT(test::error_of([&] { load_study(file(), {"study.prompts=a\xff"}); }, ErrorCode::kUsage),
              HasSubstr("study.prompts: expected a list of strings, got \"a\xff\" (not UTF-8"));
}

TEST_F(StudyNames, AreRefusedWithoutTokensToTrainOn) {
  std::ofstream(file()) << "[study]\ncorpus = \"c\"\nmodels = [\"a.toml\"]\n";
  EXPECT_EQ(test::error_of([&] { load_study(file(), {}); }, ErrorCode::kUsage),
            file() + ": study.tokens: expected the number of training tokens of each model, got none");
  EXPECT_EQ(load_study(file(), {"study.tokens=1000"}).tokens, 1000);
}

}  // namespace
}  // namespace troupe
