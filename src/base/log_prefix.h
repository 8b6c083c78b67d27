// Of whom the log speaks and how much, where several take turns.
#pragma once

#include <string>

namespace troupe::log {

// While it lives, lines of the log that this thread says begin with "LABEL: ".
class Prefix {
 public:
  explicit Prefix(std::string label);
  ~Prefix();
  Prefix(const Prefix&) = delete;
  Prefix& operator=(const Prefix&) = delete;

 private:
  std::string before_;
};

// While it lives, of what this thread says only warnings are shown; a log::File has the other lines, too.
class WarningsOnly {
 public:
  WarningsOnly();
  ~WarningsOnly();
  WarningsOnly(const WarningsOnly&) = delete;
  WarningsOnly& operator=(const WarningsOnly&) = delete;

 private:
  bool before_;
};

}  // namespace troupe::log
