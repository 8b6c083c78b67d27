// troupe bench: speeds of the parts of a step as ratios to what the machine reaches at the same moment.
#include "cli/bench.h"

#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "base/device.h"
#include "base/error.h"
#include "base/isa.h"
#include "base/quantity.h"
#include "base/threads.h"
#include "cli/command.h"
#include "cli/device.h"
#include "cli/output.h"
#include "cli/validators.h"
#include "io/provenance.h"
#include "kernels/cuda/machine.h"

namespace troupe::cli {

void add_bench(CLI::App& app) {
  auto* const bench = app.add_subcommand("bench", "Measure speeds as ratios to this machine's peaks");
  bench->require_subcommand(1);
#define TROUPE_BENCHMARK(name) add_bench_##name(*bench);
#include "cli/bench.inc"
#undef TROUPE_BENCHMARK
}

namespace {

constexpr double kMfuFlops = 989e12;  // an H100's, dense bf16, whatever the card

bool on_gpu() { return active_device() != Device::kCpu; }
std::string device_text() {
  return on_gpu() ? cuda::machine()->description() : std::string(name_of_enum(Device::kCpu));
}

}  // namespace

void add_bench_flags(CLI::App& command, const std::shared_ptr<BenchFlags>& flags, const std::function<void()>& run,
                     BenchDevices devices) {
  command.add_option("--seconds", flags->seconds, "Time per line")->transform(number(0.0, 3600.0));
  command.add_flag("--json", flags->json, "One JSON object a line");
  command.callback([flags, run, devices, name = command.get_name()] {
    choose_device(devices == BenchDevices::kCpu ? fmt::format("bench {} measures the processor", name) : "");
    if (!flags->json)
      print("{}; ratio: median over repetitions between bursts of the peak\n",
            on_gpu() ? device_text()
                     : fmt::format("{}, {}", counted(num_threads(), "thread"), name_of_enum(active_isa())));
    run();
  });
}

void print_line(const BenchFlags& flags, const BenchLine& line) {
  if (flags.json) {
    nlohmann::ordered_json object = {{"schema", "troupe.bench/1"},  {"name", line.name},
                                     {"shape", line.shape},         {"value", line.value},
                                     {"unit", line.unit},           {"peak", line.peak},
                                     {"ratio_to_peak", line.ratio}, {"peak_name", line.peak_name},
                                     {"device", device_text()},     {"isa", name_of_enum(active_isa())},
                                     {"threads", num_threads()},    {"repetitions", line.repetitions}};
    if (on_gpu()) object.erase("isa");
    if (line.memory_bytes > 0) object["memory_bytes"] = line.memory_bytes;
    for (const auto& [name, value] : line.more) object[name] = value;
    add_provenance(object);
    print_json(object);
  } else {
    print("{:26} {:34} {:9.1f} {:8}  {:5.3f} of {}\n", line.name, line.shape, line.value, line.unit, line.ratio,
               line.peak_name);
    for (const auto& [name, value] : line.more) print("{:26} {:34} {:9.4g}\n", "", name, value);
  }
  flush_output();
}

void print_result(const BenchFlags& flags, const std::string& name, const std::string& shape, const PacedResult& result,
                  Peak peak, int64_t memory_bytes, std::vector<std::pair<std::string, double>> more) {
  const bool bytes = peak == Peak::kTriad || peak == Peak::kRead;
  if (on_gpu() && !bytes) more.emplace_back("mfu", result.rate / kMfuFlops);
  print_line(flags, {.name = name,
                     .shape = shape,
                     .value = result.rate / 1e9,
                     .unit = bytes ? "GB/s" : "GFLOP/s",
                     .peak = result.peak / 1e9,
                     .ratio = result.ratio,
                     .peak_name = std::string(peak_name(peak)),
                     .repetitions = result.repetitions,
                     .memory_bytes = memory_bytes,
                     .more = std::move(more)});
}

}  // namespace troupe::cli
