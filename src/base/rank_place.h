// Where the ranks of one machine run if their launcher leaves it open: each on the NUMA nodes of its share, with a thread
// for each of its cores. By hwloc; without it nothing is decided.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace troupe {

// A rank among those of its machine, as the launcher says; {0, 1} without one.
struct LocalRank {
  int rank = 0, ranks = 1;
};
LocalRank local_rank(const std::function<const char*(const char* name)>& environment);

struct RankPlace {
  std::vector<int> cpus;  // of whole NUMA nodes, which others may share
  int64_t cores = 0;      // its own share of them
  int64_t nodes = 0, all_nodes = 0;

  std::string text() const;  // "cpus 0-3 (1 of 2 NUMA nodes)"
};

bool has_hwloc();

// Of a machine whose processors `allowed` this process may use; or of one that hwloc makes up ("numa:2 core:4 pu:2"), for
// tests. Nothing without hwloc, or where it knows nothing.
std::optional<RankPlace> place_of(const LocalRank& rank, const std::vector<int>& allowed,
                                  const char* synthetic = nullptr);

// Processors of this process's affinity mask, or of another's; none if it cannot be asked.
std::vector<int> allowed_cpus(int process = 0);
// Binds this process to `cpus`; false if the system refuses.
bool bind_to(const std::vector<int>& cpus);

}  // namespace troupe
