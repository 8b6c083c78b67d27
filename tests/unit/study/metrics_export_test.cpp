#include "study/metrics_export.h"

#include <gtest/gtest.h>

#include "error_of.h"
#include "io/atomic_file.h"
#include "temporary_folder.h"

namespace troupe {
namespace {

using test::error_of;
using test::TemporaryFolder;

std::vector<Scalar> scalars_of(const TemporaryFolder& folder, const std::string& line) {
  write_file_atomically(folder / "metrics.jsonl", line + "\n");
  return read_scalars(folder / "metrics.jsonl");
}

TEST(MetricsExport, TakesNumbersWithStepAndTime) {
  const TemporaryFolder folder;
  const std::vector<Scalar> scalars = scalars_of(
      folder, R"({"schema":"troupe.valid/1","step":7,"data":"books","nll":2.5,"ppl":null,)"
              R"("provenance":{"date":"1970-01-02T00:00:01Z"}})");
  ASSERT_EQ(scalars.size(), 1u);
  EXPECT_EQ(scalars[0].tag, "valid/books/nll");
  EXPECT_EQ(scalars[0].step, 7);
  EXPECT_EQ(scalars[0].value, 2.5);
  EXPECT_EQ(scalars[0].wall_time, 86401.0);
  EXPECT_TRUE(scalars_of(folder, R"({"schema":"troupe.sample/1","step":7,"tokens":3})").empty());
}

TEST(MetricsExport, NamesWhatIsWrongInALine) {
  const TemporaryFolder folder;
  const std::string where = (folder / "metrics.jsonl").string() + ":1: ";
  const auto error = [&](const char* line) { return error_of([&] { scalars_of(folder, line); }, ErrorCode::kData); };
  EXPECT_EQ(error("3"), where.substr(0, where.size() - 2) + ": expected a JSON object, got 3");
  EXPECT_EQ(error(R"({"schema":"troupe.train/1"})"), where + "step: expected a value, got no such key");
  EXPECT_EQ(error(R"({"schema":"troupe.train/1","step":1.5})"), where + "step: expected a whole number, got 1.5");
  EXPECT_EQ(error(R"({"step":1})"), where + "schema: expected a value, got no such key");
  EXPECT_EQ(error(R"({"schema":"troupe.valid/1","step":1,"data":3})"), where + "data: expected a string, got 3");
  EXPECT_EQ(error(R"({"schema":"troupe.train/1","step":1,"provenance":null})"),
            where + "provenance: expected a JSON object, got null");
  EXPECT_EQ(error(R"({"schema":"troupe.train/1","step":1,"moe":3})"), where + "moe: expected a list, got 3");
  EXPECT_EQ(error(R"({"schema":"troupe.train/1","step":1,"moe":[3]})"), where + "moe[0]: expected a JSON object, got 3");
}

}  // namespace
}  // namespace troupe
