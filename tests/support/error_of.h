// The message of the Error that an action throws, for tests of error texts.
#pragma once

#include <gtest/gtest.h>

#include <string>

#include "troupe/error.h"

namespace troupe::test {

// "" if nothing is thrown; an Error of another code fails the test.
template <class Action>
std::string error_of(const Action& action, ErrorCode code = ErrorCode::kData) {
  try {
    action();
  } catch (const Error& error) {
    EXPECT_EQ(static_cast<int>(error.code()), static_cast<int>(code)) << error.what();
    return error.what();
  }
  return {};
}

}  // namespace troupe::test
