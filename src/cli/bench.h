// How a benchmark joins `troupe bench`: a row in bench.inc and a file that registers a subcommand. Results are lines
//   name, shape, value, unit, peak, ratio_to_peak
// where the ratio is the median over repetitions that alternate with bursts of the peak (cli/peak.h).
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "cli/peak.h"

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
// Adds --seconds and --json, and `run` as the callback; it is for the processor alone unless `devices` says otherwise.
enum class BenchDevices { kCpu, kAll };
void add_bench_flags(CLI::App& command, const std::shared_ptr<BenchFlags>& flags, const std::function<void()>& run,
                     BenchDevices devices = BenchDevices::kAll);

// One line of results: `ratio` is what was reached of `peak`, both in `unit`. `more` are figures beside it, named for
// JSON with their unit ("tokens_per_s").
struct BenchLine {
  std::string name, shape;
  double value = 0;
  std::string unit;
  double peak = 0, ratio = 0;
  std::string peak_name;
  int64_t repetitions = 0;
  int64_t memory_bytes = 0;  // where the model lies, at most; 0: not said
  std::vector<std::pair<std::string, double>> more = {};
};
void print_line(const BenchFlags& flags, const BenchLine& line);

// The same for work measured against a peak: GFLOP/s or GB/s.
void print_result(const BenchFlags& flags, const std::string& name, const std::string& shape, const PacedResult& result,
                  Peak peak, int64_t memory_bytes = 0, std::vector<std::pair<std::string, double>> more = {});

}  // namespace troupe::cli
