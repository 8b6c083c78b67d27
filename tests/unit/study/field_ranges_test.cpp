// Every number of every configuration has a range that can be, and refuses what is not a number in it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "io/toml_config.h"
#include "study/study_config.h"
#include "train/run_config.h"

namespace troupe {
namespace {

template <class Config>
void expect_ranges() {
  Config config;
  FieldList fields = fields_of(config);
  int numbers = 0;
  for (const Field& field : fields.fields()) {
    if (field.kind != FieldKind::kInt && field.kind != FieldKind::kDouble) continue;
    ++numbers;
    EXPECT_TRUE(std::isfinite(field.range.low) && std::isfinite(field.range.high)) << field.path;
    for (const char* bad : {"nan", "inf", "-inf", "1e308", "-1e308", "9223372036854775807", "-9223372036854775808",
                            "9223372036854775808", "true", "\"1\"", "[1]", "{a = 1}", "1979-05-27", "x", ""}) {
      if (field.range.high > 1e19 && std::string_view(bad) == "9223372036854775807") continue;  // a rate may be so high
      try {
        apply_override(field.path + "=" + bad, fields);
        ADD_FAILURE() << field.path << " = " << bad << " was taken";
      } catch (const Error& error) {
        EXPECT_EQ(error.code(), ErrorCode::kUsage);
        EXPECT_THAT(error.what(), ::testing::HasSubstr(field.path + ": expected a "));
      }
    }
  }
  EXPECT_GE(numbers, 5);
}

TEST(FieldRanges, AreFiniteInRunsAndStudies) {
  expect_ranges<RunConfig>();
  expect_ranges<StudyFile>();
}

TEST(FieldRanges, HintsNameTheKeyOfThatNameInAnotherTable) {
  RunConfig config;
  FieldList fields = fields_of(config);
  EXPECT_EQ(fields.nearest_to("train.lr"), "train.schedule.lr");
  EXPECT_EQ(fields.nearest_to("moe.num_experts"), "model.moe.num_experts");
  EXPECT_EQ(fields.nearest_to("num_layers"), "model.num_layers");
  EXPECT_EQ(fields.nearest_to("train.batch_sequence"), "train.batch_sequences");
}

}  // namespace
}  // namespace troupe
