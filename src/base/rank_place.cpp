#include "base/rank_place.h"

#include <fmt/core.h>
#include <sched.h>

#include <charconv>
#include <cstring>
#include <utility>

namespace troupe {
namespace {

// "0-3,8": consecutive ones in short.
std::string ranges(const std::vector<int>& cpus) {
  std::string text;
  for (size_t begin = 0, end; begin < cpus.size(); begin = end) {
    for (end = begin + 1; end < cpus.size() && cpus[end] == cpus[end - 1] + 1;) ++end;
    text += fmt::format("{}{}", text.empty() ? "" : ",", cpus[begin]);
    if (end > begin + 1) text += fmt::format("-{}", cpus[end - 1]);
  }
  return text;
}

std::optional<int> number(const char* text) {
  int value = 0;
  if (!text) return std::nullopt;
  const auto [end, error] = std::from_chars(text, text + std::strlen(text), value);
  return error == std::errc() && end != text ? std::optional(value) : std::nullopt;
}

}  // namespace

// Open MPI's mpirun; those of MPICH and Intel; srun with --ntasks-per-node.
LocalRank local_rank(const std::function<const char*(const char* name)>& environment) {
  constexpr std::pair<const char*, const char*> kNames[] = {{"OMPI_COMM_WORLD_LOCAL_RANK", "OMPI_COMM_WORLD_LOCAL_SIZE"},
                                                            {"MPI_LOCALRANKID", "MPI_LOCALNRANKS"},
                                                            {"SLURM_LOCALID", "SLURM_NTASKS_PER_NODE"}};
  for (const auto& [rank_name, ranks_name] : kNames) {
    const std::optional<int> rank = number(environment(rank_name)), ranks = number(environment(ranks_name));
    if (rank && ranks && *rank >= 0 && *rank < *ranks) return {*rank, *ranks};
  }
  return {};
}

std::string RankPlace::text() const {
  return fmt::format("cpus {} ({} of {} NUMA {})", ranges(cpus), nodes, all_nodes, all_nodes == 1 ? "node" : "nodes");
}

std::vector<int> allowed_cpus(int process) {
  cpu_set_t mask;
  std::vector<int> cpus;
  if (sched_getaffinity(process, sizeof mask, &mask) != 0) return cpus;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu)
    if (CPU_ISSET(cpu, &mask)) cpus.push_back(cpu);
  return cpus;
}

bool bind_to(const std::vector<int>& cpus) {
  cpu_set_t mask;
  CPU_ZERO(&mask);
  for (const int cpu : cpus)
    if (cpu < CPU_SETSIZE) CPU_SET(cpu, &mask);
  return sched_setaffinity(0, sizeof mask, &mask) == 0;
}

}  // namespace troupe
