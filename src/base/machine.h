// The machine as this process may use it: processors, memory, limits of its control group, huge pages, NUMA nodes.
// Linux only knows; elsewhere fields stay 0 or empty.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

namespace troupe {

struct Machine {
  std::string cpu;                            // "AMD EPYC 9654 96-Core Processor"
  int64_t online_cpus = 0;                    // of the machine
  int64_t allowed_cpus = 0;                   // by this process's affinity mask
  int64_t allowed_cores = 0;                  // of these, without second hardware threads of a core
  std::optional<double> quota_cpus;           // processor time per second allowed by the control group
  int64_t memory_bytes = 0;                   // physical
  int64_t available_bytes = 0;                // free or reclaimable now
  std::optional<int64_t> memory_limit_bytes;  // of the control group
  std::optional<int64_t> limit_left_bytes;    // the least that a group's limit leaves, or the process's own (ulimit -v)
  int64_t numa_nodes = 0;
  bool memory_interleaved = false;  // new pages come from all nodes in turn (of this process: set_mempolicy, numactl)
  std::string huge_pages;           // transparent huge pages: "always", "madvise", "never"

  int64_t usable_bytes() const {
    return memory_limit_bytes && *memory_limit_bytes < memory_bytes ? *memory_limit_bytes : memory_bytes;
  }
  // What this process may still take, as far as the system says.
  std::optional<int64_t> free_bytes() const {
    if (available_bytes == 0) return limit_left_bytes;
    return limit_left_bytes && *limit_left_bytes < available_bytes ? *limit_left_bytes : available_bytes;
  }
};

// Reads /proc and /sys below `root` (for tests); the affinity mask comes from the system itself.
Machine read_machine(const std::filesystem::path& root = "/");

std::string host_name();
std::string utc_time();       // now: "2026-01-31T12:00:00Z"
int64_t peak_memory_bytes();  // the most that this process has held so far

}  // namespace troupe
