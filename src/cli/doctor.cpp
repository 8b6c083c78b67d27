// troupe doctor: what this machine offers, what of it is used, and what to change.
#include <CLI/CLI.hpp>
#include <cstdlib>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/isa.h"
#include "base/machine.h"
#include "base/placement.h"
#include "base/process.h"
#include "base/quantity.h"
#include "base/threads.h"
#include "base/utf8.h"
#include "cli/color.h"
#include "cli/command.h"
#include "cli/device.h"
#include "cli/output.h"
#include "cli/peak.h"
#include "dist/mpi.h"
#include "kernels/cuda/cublaslt.h"
#include "kernels/cuda/cudnn.h"
#include "kernels/cuda/cutlass.h"
#include "kernels/cuda/driver.h"
#include "kernels/onednn/gemm.h"
#include "kernels/table.h"

namespace troupe::cli {
namespace {

using Json = nlohmann::ordered_json;

constexpr int64_t kLittleMemory = int64_t{4} << 30;

struct Backend {
  std::string name, state;
};

struct Findings {
  Machine machine;
  Isa isa, detected;
  std::string isa_reason;
  int threads;
  std::string threads_reason;
  double load = 0;  // average number of running processes over the last minute, before measuring
  Peaks peaks;
  std::vector<Backend> backends;
  std::vector<std::string> warnings;
};

const char* environment(const char* name) {
  const char* value = std::getenv(name);
  return value && *value ? value : nullptr;
}

// What `program --version` says first ("found" if nothing), or what is lacking without it.
std::string find_tool(const char* program, const char* without) {
  const ProcessResult result = run_program({program, "--version"});
  if (result.status == 127) return fmt::format("not in PATH: {}", without);
  return result.output.empty() ? "found" : result.output.substr(0, result.output.find('\n'));
}

// The GPUs, or why there is none to use.
void add_cards(std::vector<Backend>& backends) {
  const cuda::Survey found = cuda::survey();
  std::string driver = found.driver.empty() ? "" : fmt::format("driver {} ({})", found.driver, found.library);
  if (!found.problem.empty()) driver += (driver.empty() ? "" : ", ") + found.problem;
  backends.push_back({"CUDA", driver});
  backends.push_back({"CUDA kernels", found.kernels.empty() ? "not built (no nvcc)" : "for " + found.kernels});
  const std::string cutlass = cuda::cutlass_version();
  backends.push_back({"CUTLASS", cutlass.empty() ? "not built" : cutlass + ", if TROUPE_CUDA_GROUPED is cutlass"});
  if (!found.cards.empty()) {
    backends.push_back({"cuBLASLt", cuda::lt_description()});
    backends.push_back({"cuDNN", cuda::dnn_description()});
  }
  for (size_t i = 0; i < found.cards.size(); ++i) {
    const cuda::Card& card = found.cards[i];
    backends.push_back({fmt::format("cuda:{}", i),
                        fmt::format("{}, {:.1f} GiB, {} multiprocessors, compute capability {}.{}", card.name,
                                    static_cast<double>(card.memory_bytes) / (1 << 30), card.multiprocessors,
                                    card.major, card.minor)});
  }
}

std::vector<Backend> find_backends(Isa isa) {
  std::vector<Backend> backends;
  backends.push_back({"own kernels", fmt::format("{}", name_of_enum(isa))});
  const char* refusal = onednn::unavailable_reason();
  backends.push_back({"oneDNN", refusal ? std::string(refusal) : onednn::version()});
  add_cards(backends);
  backends.push_back({"OpenMP", fmt::format("{}", _OPENMP)});
  backends.push_back({"gnuplot", find_tool("gnuplot", "pages have no charts (Debian: gnuplot-nox)")});
  backends.push_back({"apt-get", find_tool("apt-get", "`corpus build quickstart` needs --packages-dir")});
  backends.push_back(
      {"mandoc", find_tool("mandoc", "`corpus build quickstart` cannot read manual pages (Debian: mandoc)")});
  return backends;
}

std::vector<std::string> find_warnings(const Findings& f) {
  std::vector<std::string> warnings;
  const Machine& machine = f.machine;
  if (f.threads == 1 && machine.allowed_cpus > 1)
    warnings.push_back(fmt::format("1 thread of {} allowed processors is used: unset OMP_NUM_THREADS or set it to {}",
                                   machine.allowed_cpus, machine.allowed_cpus));
  else if (machine.allowed_cpus == 1 && machine.online_cpus > 1)
    warnings.push_back(
        fmt::format("this process may use 1 of {} processors: start it without taskset, or ask the "
                    "batch system for more (srun --cpus-per-task)",
                    machine.online_cpus));
  else if (machine.online_cpus == 1)
    warnings.push_back("the machine has one processor: training takes proportionally longer");
  if (machine.quota_cpus && f.threads > *machine.quota_cpus + 0.5)
    warnings.push_back(
        fmt::format("{} on {:.2g} processors allowed by the control group: set "
                    "OMP_NUM_THREADS={:.0f} or raise the limit (docker --cpus)",
                    counted(f.threads, "thread"), *machine.quota_cpus, std::max(1.0, *machine.quota_cpus)));
  if (f.threads > machine.allowed_cpus)
    warnings.push_back(fmt::format("{} on {}: lower OMP_NUM_THREADS", counted(f.threads, "thread"),
                                   counted(machine.allowed_cpus, "allowed processor")));
  if (f.load > 0.5 * static_cast<double>(machine.allowed_cpus))
    warnings.push_back(
        fmt::format("other programs are running (load {:.1f} on {} processors): the peaks above are lower "
                    "than on an idle machine",
                    f.load, machine.allowed_cpus));
  if (f.detected == Isa::kGeneric)
    warnings.push_back(
        "no AVX2: kernels run in generic code, several times slower (in a virtual machine, pass the "
        "host's processor through)");
  if (f.isa < f.detected)
    warnings.push_back(fmt::format("TROUPE_ISA holds this process to {}; unset it to use {}", name_of_enum(f.isa),
                                   name_of_enum(f.detected)));
  if (machine.usable_bytes() > 0 && machine.usable_bytes() < kLittleMemory)
    warnings.push_back(fmt::format("{:.1f} GiB of memory: `troupe cost` says what a model needs",
                                   static_cast<double>(machine.usable_bytes()) / (1 << 30)));
  if (machine.huge_pages == "never")
    warnings.push_back(
        "transparent huge pages are off: large models run slower (as root: echo madvise > "
        "/sys/kernel/mm/transparent_hugepage/enabled)");
  if (const char* refusal = onednn::unavailable_reason(); refusal && !kernels().gemm.f32)
    warnings.push_back(
        fmt::format("{}: this processor has no products of ours, so they run in the scalar reference (Debian: "
                    "install libdnnl-dev and build again)",
                    refusal));
  return warnings;
}

Findings examine() {
  Findings f;
  f.machine = read_machine();
  f.detected = detected_isa();
  f.isa = active_isa();
  const char* wanted_isa = environment("TROUPE_ISA");
  f.isa_reason = wanted_isa ? fmt::format("TROUPE_ISA={}", wanted_isa) : "best of this processor";
  f.threads = num_threads();
  f.threads_reason = describe_threads(environment);
  if (::getloadavg(&f.load, 1) != 1) f.load = 0;
  f.peaks = measure_peaks();
  f.backends = find_backends(f.isa);
  f.warnings = find_warnings(f);
  return f;
}

Json to_json(const Findings& f) {
  const auto or_null = [](const auto& value) { return value ? Json(*value) : Json(nullptr); };
  Json backends = Json::array();
  for (const Backend& backend : f.backends) backends.push_back({{"name", backend.name}, {"state", backend.state}});
  return {{"schema", "troupe.doctor/1"},
          {"cpu", f.machine.cpu},
          {"isa", name_of_enum(f.isa)},
          {"isa_reason", f.isa_reason},
          {"isa_detected", name_of_enum(f.detected)},
          {"threads", f.threads},
          {"threads_reason", f.threads_reason},
          {"online_cpus", f.machine.online_cpus},
          {"allowed_cpus", f.machine.allowed_cpus},
          {"quota_cpus", or_null(f.machine.quota_cpus)},
          {"memory_bytes", f.machine.usable_bytes()},
          {"memory_physical_bytes", f.machine.memory_bytes},
          {"memory_limit_bytes", or_null(f.machine.memory_limit_bytes)},
          {"memory_available_bytes", f.machine.available_bytes},
          {"load", f.load},
          {"numa_nodes", f.machine.numa_nodes},
          {"huge_pages", f.machine.huge_pages},
          {"peak_bf16_flops", f.peaks.bf16_flops},
          {"peak_fp32_flops", f.peaks.f32_flops},
          {"bandwidth_bytes_per_s", f.peaks.triad_bytes},
          {"bandwidth_read_bytes_per_s", f.peaks.read_bytes},
          {"mpi", mpi_version()},
          {"backends", backends},
          {"version", TROUPE_VERSION},
          {"warnings", f.warnings}};
}

void print_text(const Findings& f) {
  const Machine& machine = f.machine;
  const auto line = [](const char* name, const std::string& text) { print("{:<14}{}\n", name, text); };
  const auto gib = [](int64_t bytes) { return static_cast<double>(bytes) / (1 << 30); };
  line("troupe", TROUPE_VERSION);
  line("processor", machine.cpu.empty() ? "unknown" : machine.cpu);
  line("kernels", fmt::format("{} ({}; found: {})", name_of_enum(f.isa), f.isa_reason, name_of_enum(f.detected)));
  line("threads", fmt::format("{} ({}; {} online, {} allowed{})", f.threads, f.threads_reason, machine.online_cpus,
                              machine.allowed_cpus,
                              machine.quota_cpus ? fmt::format(", quota of {:.2g}", *machine.quota_cpus) : ""));
  line("memory", fmt::format("{:.1f} GiB, {:.1f} available{}", gib(machine.usable_bytes()),
                             gib(std::min(machine.usable_bytes(), machine.available_bytes)),
                             machine.memory_limit_bytes ? " (limited by the control group)" : ""));
  line("huge pages", machine.huge_pages.empty() ? "unknown" : machine.huge_pages);
  line("NUMA nodes", fmt::format("{}{}", machine.numa_nodes, machine.memory_interleaved ? ", memory interleaved" : ""));
  line("peak bf16", fmt::format("{:.1f} GFLOP/s{}", f.peaks.bf16_flops / 1e9,
                                f.isa < Isa::kAvx512Bf16 ? " (no bf16 instructions: float32)" : ""));
  line("peak float32", fmt::format("{:.1f} GFLOP/s", f.peaks.f32_flops / 1e9));
  line("memory speed",
       fmt::format("{:.1f} GB/s (triad), {:.1f} GB/s (read)", f.peaks.triad_bytes / 1e9, f.peaks.read_bytes / 1e9));
  line("MPI", mpi_version());
  for (const Backend& backend : f.backends) line(backend.name.c_str(), backend.state);
  print("\n");
  if (f.warnings.empty()) print("Nothing to change.\n");
  for (const std::string& warning : f.warnings)
    print_bytes(painted("!", Paint::kWarning, Stream::kOut) + " " + visible_text(warning) + "\n");
}

}  // namespace

void add_doctor(CLI::App& app) {
  auto* const command =
      app.add_subcommand("doctor", "Processor, threads, memory and measured peaks of this machine, and what to change");
  const auto json = std::make_shared<bool>(false);
  command->add_flag("--json", *json, "One JSON object on stdout");
  command->callback([json] {
    if (wants_card()) choose_device();
    const Findings findings = examine();
    *json ? print_json(to_json(findings)) : print_text(findings);
  });
}

}  // namespace troupe::cli
