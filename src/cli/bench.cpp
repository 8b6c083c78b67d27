// troupe bench: speeds of the parts of a step as ratios to what the machine reaches at the same moment.
#include "cli/bench.h"

#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "base/isa.h"
#include "base/threads.h"
#include "cli/command.h"
#include "cli/output.h"

namespace troupe::cli {

void add_bench(CLI::App& app) {
  auto* const bench = app.add_subcommand("bench", "Measure speeds as ratios to this machine's peaks");
  bench->require_subcommand(1);
#define TROUPE_BENCHMARK(name) add_bench_##name(*bench);
#include "cli/bench.inc"
#undef TROUPE_BENCHMARK
}

void add_bench_flags(CLI::App& command, const std::shared_ptr<BenchFlags>& flags, const std::function<void()>& run) {
  command.add_option("--seconds", flags->seconds, "Time per line")->check(CLI::Range(0.0, 3600.0));
  command.add_flag("--json", flags->json, "One JSON object a line");
  command.callback([flags, run] {
    if (!flags->json)
      fmt::print("{} threads, {}; ratio: median over repetitions between bursts of the peak\n", num_threads(),
                 isa_name(active_isa()));
    run();
  });
}

void print_result(const BenchFlags& flags, const std::string& name, const std::string& shape, const PacedResult& result,
                  Peak peak) {
  const bool bytes = peak == Peak::kTriad || peak == Peak::kRead;
  const std::string unit = bytes ? "GB/s" : "GFLOP/s";
  const std::string peak_text(peak_name(peak));
  if (flags.json)
    print_json({{"schema", "troupe.bench/1"},
                {"name", name},
                {"shape", shape},
                {"value", result.rate / 1e9},
                {"unit", unit},
                {"peak", result.peak / 1e9},
                {"ratio_to_peak", result.ratio},
                {"peak_name", peak_text},
                {"isa", isa_name(active_isa())},
                {"threads", num_threads()},
                {"repetitions", result.repetitions}});
  else
    fmt::print("{:26} {:34} {:9.1f} {:8}  {:5.3f} of {}\n", name, shape, result.rate / 1e9, unit, result.ratio,
               peak_text);
  std::fflush(stdout);
}

}  // namespace troupe::cli
