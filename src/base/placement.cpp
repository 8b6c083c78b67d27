#include "base/placement.h"

#include <fmt/core.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/quantity.h"
#ifdef SYS_set_mempolicy
#include <linux/mempolicy.h>
#endif

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <string_view>

namespace troupe {
namespace {

constexpr const char* kSpinCount = "1000";
constexpr const char* kPlaced = "TROUPE_PLACED";            // names of settings that were added
constexpr const char* kInterleaved = "TROUPE_INTERLEAVED";  // memory is, by us

int64_t wanted_threads(const Machine& machine) {
  int64_t threads = std::max<int64_t>(1, machine.allowed_cores);
  if (machine.quota_cpus) threads = std::min(threads, std::max<int64_t>(1, std::llround(*machine.quota_cpus)));
  return threads;
}

#ifdef SYS_set_mempolicy
// Pages of every node in turn: all threads read the same weights, and tasks are not tied to nodes.
void interleave_memory() {
  constexpr unsigned long kMaxNodes = 1024;
  unsigned long nodes[kMaxNodes / (8 * sizeof(unsigned long))] = {};
  int policy = MPOL_DEFAULT;
  if (syscall(SYS_get_mempolicy, &policy, nullptr, 0UL, nullptr, 0UL) != 0 || policy != MPOL_DEFAULT) return;
  if (syscall(SYS_get_mempolicy, nullptr, nodes, kMaxNodes, nullptr, MPOL_F_MEMS_ALLOWED) != 0) return;
  // Refused: memory stays where it is first used.
  if (syscall(SYS_set_mempolicy, MPOL_INTERLEAVE, nodes, kMaxNodes) == 0) setenv(kInterleaved, "1", 1);
}

void leave_memory() { syscall(SYS_set_mempolicy, MPOL_DEFAULT, nullptr, 0UL); }
#else
void interleave_memory() {}
void leave_memory() {}
#endif

}  // namespace

std::vector<std::pair<std::string, std::string>> missing_settings(const Machine& machine,
                                                                  const Environment& environment) {
  std::vector<std::pair<std::string, std::string>> settings;
  const int64_t threads = wanted_threads(machine);
  const bool own_threads = environment("OMP_NUM_THREADS") == nullptr;
  if (own_threads && threads != machine.allowed_cpus) settings.emplace_back("OMP_NUM_THREADS", std::to_string(threads));
  const bool every_core = own_threads && threads == machine.allowed_cores;
  if (machine.numa_nodes > 1 && every_core && !environment("OMP_PROC_BIND") && !environment("OMP_PLACES") &&
      !environment("GOMP_CPU_AFFINITY")) {
    settings.emplace_back("OMP_PLACES", "cores");
    settings.emplace_back("OMP_PROC_BIND", "spread");
  }
  if (!environment("OMP_WAIT_POLICY") && !environment("GOMP_SPINCOUNT"))
    settings.emplace_back("GOMP_SPINCOUNT", kSpinCount);
  return settings;
}

void place_process(char** argv) {
  const Machine machine = read_machine();
  if (machine.numa_nodes > 1) interleave_memory();  // survives the new start
  const auto settings = missing_settings(machine, [](const char* name) { return std::getenv(name); });
  if (settings.empty() || std::getenv(kPlaced)) return;  // the second protects from starting forever
  std::error_code error;
  const std::string program = std::filesystem::read_symlink("/proc/self/exe", error).string();
  if (error) return;
  std::string names;
  for (const auto& [name, value] : settings) {
    setenv(name.c_str(), value.c_str(), 1);
    names += (names.empty() ? "" : " ") + name;
  }
  setenv(kPlaced, names.c_str(), 1);
  execv(program.c_str(), argv);  // returns only if it failed: then OpenMP's own defaults hold
}

void unplace_process() {
  const char* const placed = std::getenv(kPlaced);
  const std::string names = placed ? placed : "";
  for (size_t begin = 0; begin < names.size();) {
    const size_t end = std::min(names.find(' ', begin), names.size());
    unsetenv(names.substr(begin, end - begin).c_str());
    begin = end + 1;
  }
  unsetenv(kPlaced);
  if (std::getenv(kInterleaved)) leave_memory();
  unsetenv(kInterleaved);
}

std::string describe_threads(const Environment& environment) {
  const char *const threads = environment("OMP_NUM_THREADS"), *const placed = environment(kPlaced);
  if (!threads) return "one per allowed core";
  if (placed && std::string_view(placed).find("OMP_NUM_THREADS") != std::string_view::npos)
    return "one per core, no more than the control group's quota";
  return fmt::format("OMP_NUM_THREADS={}", threads);
}

std::string describe_placement(const Machine& machine, int threads, const Environment& environment) {
  const char* const bind = environment("OMP_PROC_BIND");
  const bool pinned = (bind && std::string_view(bind) != "false") || environment("GOMP_CPU_AFFINITY");
  const std::string pages = machine.huge_pages.empty() ? "unknown" : machine.huge_pages;
  return fmt::format("{} on {}, {}; huge pages: {}; {:.1f} GiB of memory on {}{}", counted(threads, "thread"),
                     counted(machine.allowed_cores, "core"), pinned ? "pinned" : "free to move", pages,
                     static_cast<double>(machine.usable_bytes()) / (1 << 30), counted(machine.numa_nodes, "node"),
                     machine.memory_interleaved ? ", interleaved" : "");
}

}  // namespace troupe
