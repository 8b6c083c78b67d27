#include "base/log.h"

#include <gtest/gtest.h>

#include "base/log_prefix.h"
#include "log_capture.h"

namespace troupe::log {
namespace {

TEST(Log, APrefixSaysOfWhomALineIs) {
  test::LogCapture log;
  {
    const Prefix moe("moe");
    info("12 steps");
    {
      const Prefix seed("seed 2");
      warning("late");
    }
    info("13 steps");
  }
  info("done");
  EXPECT_EQ(log.end(), "moe: 12 steps\nwarning: moe: seed 2: late\nmoe: 13 steps\ndone\n");
}

TEST(Log, WarningsOnlyIsWhatItSays) {
  test::LogCapture log;
  {
    const WarningsOnly brief;
    info("12 steps");
    warning("late");
  }
  info("done");
  EXPECT_EQ(log.end(), "warning: late\ndone\n");
}

}  // namespace
}  // namespace troupe::log
