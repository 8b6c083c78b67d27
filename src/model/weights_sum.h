// A checksum of some of a model's weights by name and value, in whichever order they come. Files play no part: a model that
// was converted in the same precision has the sum of the one that it was made of.
#pragma once

#include <cstdint>
#include <span>
#include <string>

namespace troupe {

class WeightsSum {
 public:
  void add(const std::string& name, std::span<const float> values);  // each parameter once
  std::string text() const;                                          // 16 hexadecimal digits

 private:
  uint64_t sum_ = 0;
};

}  // namespace troupe
