#include "base/placement.h"

#include <fmt/core.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/quantity.h"
#include "base/rank_place.h"
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
constexpr const char* kRankPlace = "TROUPE_RANK_PLACE";     // where this rank was put

int64_t wanted_threads(const Machine& machine, int ranks, std::optional<int64_t> rank_cores) {
  int64_t threads = std::max<int64_t>(1, machine.allowed_cores);
  if (rank_cores) threads = std::min(threads, *rank_cores);
  if (machine.quota_cpus) threads = std::min(threads, std::max<int64_t>(1, std::llround(*machine.quota_cpus / ranks)));
  return threads;
}

bool has_places(const Environment& environment) {
  return environment("OMP_PROC_BIND") || environment("OMP_PLACES") || environment("GOMP_CPU_AFFINITY");
}

// Puts a rank where it shall run, if nobody else has.
std::optional<RankPlace> place_rank(const LocalRank& rank, const Environment& environment) {
  if (rank.ranks == 1 || has_places(environment)) return std::nullopt;
  const std::vector<int> allowed = allowed_cpus();
  if (allowed != allowed_cpus(getppid())) return std::nullopt;  // the launcher bound it
  std::optional<RankPlace> place = place_of(rank, allowed);
  if (!place || (place->nodes < place->all_nodes && !bind_to(place->cpus))) return std::nullopt;
  setenv(kRankPlace, place->text().c_str(), 1);
  return place;
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
                                                                  const Environment& environment, int ranks,
                                                                  std::optional<int64_t> rank_cores) {
  std::vector<std::pair<std::string, std::string>> settings;
  const int64_t threads = wanted_threads(machine, ranks, rank_cores);
  const bool own_threads = environment("OMP_NUM_THREADS") == nullptr;
  if (own_threads && threads != machine.allowed_cpus) settings.emplace_back("OMP_NUM_THREADS", std::to_string(threads));
  const bool every_core = own_threads && threads == machine.allowed_cores;
  if (machine.numa_nodes > 1 && every_core && !has_places(environment)) {
    settings.emplace_back("OMP_PLACES", "cores");
    settings.emplace_back("OMP_PROC_BIND", "spread");
  }
  if (!environment("OMP_WAIT_POLICY") && !environment("GOMP_SPINCOUNT"))
    settings.emplace_back("GOMP_SPINCOUNT", kSpinCount);
  return settings;
}

void place_process(char** argv) {
  if (std::getenv(kPlaced)) return;  // not for ever; masks and policies survive the new start
  const Environment environment = [](const char* name) { return std::getenv(name); };
  const LocalRank rank = local_rank(environment);
  const std::optional<RankPlace> place = place_rank(rank, environment);
  const Machine machine = read_machine();
  if (place ? place->nodes > 1 : machine.numa_nodes > 1) interleave_memory();
  const auto settings = missing_settings(machine, environment, place ? rank.ranks : 1,
                                         place ? std::optional(place->cores) : std::nullopt);
  if (settings.empty()) return;
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
  unsetenv(kPlaced), unsetenv(kRankPlace);
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

std::string describe_rank_place(int threads, const Environment& environment) {
  const char* const place = environment(kRankPlace);
  return fmt::format("{}, {}", counted(threads, "thread"),
                     place                     ? std::string(place)
                     : has_places(environment) ? std::string("placed by the environment")
                     : allowed_cpus() != allowed_cpus(getppid())
                         ? fmt::format("bound by the launcher to {}", counted(static_cast<int64_t>(allowed_cpus().size()), "cpu"))
                         : std::string("free to move"));
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
