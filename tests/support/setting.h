// A variable of the environment, until the end of the scope; then it is what it was.
#pragma once

#include <cstdlib>
#include <optional>
#include <string>

namespace troupe::test {

struct Setting {
  Setting(const char* name, const char* value) : name(name) {
    if (const char* const now = std::getenv(name)) before = now;
    setenv(name, value, 1);
  }
  Setting(const Setting&) = delete;
  ~Setting() {
    if (before)
      setenv(name, before->c_str(), 1);
    else
      unsetenv(name);
  }
  const char* name;
  std::optional<std::string> before;
};

}  // namespace troupe::test
