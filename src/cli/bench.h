// How a benchmark joins `troupe bench`: a row in bench.inc and a file that registers a subcommand. Results are lines
//   name, shape, value, unit, peak, ratio_to_peak
// where the ratio is the median over repetitions that alternate with bursts of the peak (kernels/peak.h).
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "kernels/peak.h"

namespace CLI {
class App;
}

namespace troupe::cli {

#define TROUPE_BENCHMARK(name) void add_bench_##name(CLI::App& bench);
#include "cli/bench.inc"
#undef TROUPE_BENCHMARK

struct BenchFlags {
  double seconds = 2.0;  // per line
  bool json = false;
};
// Adds --seconds and --json, and `run` as the callback.
void add_bench_flags(CLI::App& command, const std::shared_ptr<BenchFlags>& flags, const std::function<void()>& run);

// Prints one line. `unit` names `scale` per second: result.rate / scale is the value (1e9, "GFLOP/s").
void print_result(const BenchFlags& flags, const std::string& name, const std::string& shape, const PacedResult& result,
                  Peak peak);

}  // namespace troupe::cli
