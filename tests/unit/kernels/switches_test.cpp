#include "kernels/cuda/switches.h"

#include <gtest/gtest.h>

#include "error_of.h"
#include "setting.h"

namespace troupe::cuda {
namespace {

using test::Setting;

TEST(Switches, HaveTheirValuesAndNoOther) {
  for (const Switch* const one : kSwitches) {
    EXPECT_EQ(value_of(*one), "") << one->name;
    for (const std::string_view value : one->values) {
      const Setting set(one->name, std::string(value).c_str());
      EXPECT_EQ(value_of(*one), value);
      check_switches();
    }
    const Setting empty(one->name, "");
    EXPECT_EQ(value_of(*one), "");
    for (const char* other : {"2", "01", "on"}) {
      const Setting set(one->name, other);
      EXPECT_THROW(value_of(*one), Error) << one->name;
      EXPECT_THROW(check_switches(), Error) << one->name;
    }
  }
}

TEST(Switches, SayWhatTheyExpect) {
  const Setting wait(kWaitSwitch.name, "yes");
  EXPECT_EQ(test::error_of([] { check_switches(); }, ErrorCode::kUsage), "TROUPE_CUDA_WAIT: expected 0 or 1, got yes");
  constexpr std::string_view kThree[] = {"a", "b", "c"};
  EXPECT_EQ(test::error_of(
                [&] {
                  value_of({kWaitSwitch.name, kThree});
                },
                ErrorCode::kUsage),
            "TROUPE_CUDA_WAIT: expected a, b or c, got yes");
}

}  // namespace
}  // namespace troupe::cuda
