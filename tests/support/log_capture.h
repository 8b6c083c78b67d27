// What the log says on stderr meanwhile.
#pragma once

#include <gtest/gtest.h>

#include <string>

namespace troupe::test {

// One at a time.
class LogCapture {
 public:
  LogCapture() { testing::internal::CaptureStderr(); }
  ~LogCapture() {
    if (!ended_) testing::internal::GetCapturedStderr();
  }
  LogCapture(const LogCapture&) = delete;
  LogCapture& operator=(const LogCapture&) = delete;

  std::string end() {
    ended_ = true;
    return testing::internal::GetCapturedStderr();
  }

 private:
  bool ended_ = false;
};

}  // namespace troupe::test
