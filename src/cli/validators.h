// Numbers on the command line: what every flag takes and how it is refused, "--seed: expected ..., got ...".
// For ->transform(), not ->check(): CLI11 itself reads 010 as 8, -1 as 2^64 - 1 where no sign fits and what is too
// large as the largest, so a number is handed on to it in one spelling.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <limits>

namespace troupe::cli {

// The most of anything that is counted; the product of two such counts is a number of 64 bits.
inline constexpr int64_t kMostCount = std::numeric_limits<int32_t>::max();

// A whole number from `least` to `most`. It may be written as in configuration files: 4096, 8e6.
CLI::Validator whole_number(int64_t least, int64_t most);
inline CLI::Validator count(int64_t most = kMostCount) { return whole_number(0, most); }
inline CLI::Validator positive_count(int64_t most = kMostCount) { return whole_number(1, most); }
// Of random numbers: from 0 to 2^63 - 1, as in configuration files.
inline CLI::Validator seed() { return whole_number(0, std::numeric_limits<int64_t>::max()); }

// A number from `least` to `most`; never infinite or NaN.
CLI::Validator number(double least, double most);
// Above 0 and so small that sums and products of a few stay finite.
CLI::Validator positive_number(double most = 1e18);
inline CLI::Validator probability() { return number(0.0, 1.0); }

}  // namespace troupe::cli
