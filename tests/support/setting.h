// A variable of the environment, until the end of the scope.
#pragma once

#include <cstdlib>

namespace troupe::test {

struct Setting {
  Setting(const char* name, const char* value) : name(name) { setenv(name, value, 1); }
  Setting(const Setting&) = delete;
  ~Setting() { unsetenv(name); }
  const char* name;
};

}  // namespace troupe::test
