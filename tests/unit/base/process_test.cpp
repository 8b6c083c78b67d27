#include "base/process.h"

#include <gtest/gtest.h>

#include "setting.h"

namespace troupe {
namespace {

TEST(RunProgram, ReportsOutputErrorsAndStatus) {
  const ProcessResult result = run_program({"sh", "-c", "pwd; echo err >&2; exit 3"}, "/");
  EXPECT_EQ(result.status, 3);
  EXPECT_EQ(result.output, "/\n");
  EXPECT_EQ(result.errors, "err\n");
  EXPECT_EQ(run_program({"sh", "-c", "kill -9 $$"}).status, 128 + 9);
}

TEST(RunProgram, SaysAsAShellWhyAProgramDidNotStart) {
  EXPECT_EQ(run_program({"no-such-program-here"}).status, 127);
  const ProcessResult folder = run_program({"/"});
  EXPECT_EQ(folder.status, 126);
  EXPECT_EQ(folder.errors, "Permission denied");
}

// Such a folder of PATH cannot be made for root, but a folder of the program's name gives the same error.
TEST(RunProgram, IsNotFoundWhereAFolderOfPathCannotBeSearched) {
  const test::Setting path("PATH", "/");
  EXPECT_EQ(run_program({"etc"}).status, 127);
}

TEST(RunProgram, GivesInputOfAnySizeAndTakesBackAsMuch) {
  std::string input;
  for (int i = 0; i < 300'000; ++i) input += "0123456789";  // more than pipes hold
  const ProcessResult result = run_program({"sh", "-c", "tee /dev/stderr"}, {}, input);
  EXPECT_EQ(result.output, input);
  EXPECT_EQ(result.errors, input);
  EXPECT_EQ(run_program({"cat"}).output, "") << "without input there is its end";
  EXPECT_EQ(run_program({"true"}, {}, input).status, 0) << "what is not read does no harm";
}

TEST(RunProgram, SpeaksEnglish) {
  const test::Setting language("LC_ALL", "de_DE.UTF-8");
  EXPECT_EQ(run_program({"sh", "-c", "echo $LC_ALL"}).output, "C.UTF-8\n");
}

}  // namespace
}  // namespace troupe
