// Numbers as people read them, the same on the terminal, in logs and on pages. What is not finite is "–".
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace troupe {

std::string number_text(double value, int decimals);            // 2.1241
std::string difference_text(double value, int decimals);        // +0.0300
std::string interval_text(double value, double half, int decimals);  // 2.1241 ± 0.0040; without a half the value alone
std::string percent_text(double share, int decimals = 1);       // 12.5 %
std::string short_number(double value);                         // 1.23M, 45.6B: three digits
std::string short_bytes(double value);                          // 1.23 MB, 45.6 GB
std::string short_flops(double value);                          // 142 TFLOPs
std::string short_duration(double seconds);                     // 12 s, 3 min 07 s, 2 h 05 min
// "1 file", "12 files": the noun with an s, or `plural` where that is another word.
std::string counted(int64_t count, std::string_view noun, std::string_view plural = {});
std::string short_counted(double count, std::string_view noun);  // "1 file", "50.5k files"

// A unit in which values up to `most` are written on an axis: {1e15, "PFLOPs"}.
struct Unit {
  double size = 1.0;
  std::string name;
};
Unit flops_unit(double most);
Unit count_unit(double most);  // {1e6, "M"}

}  // namespace troupe
