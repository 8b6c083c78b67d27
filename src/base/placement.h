// How many threads run, where, and how they wait for each other, and on which nodes memory lies. OpenMP reads its
// environment when the program is loaded: a program that finds settings missing adds them and starts itself once more.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/machine.h"

namespace troupe {

using Environment = std::function<const char*(const char* name)>;  // nullptr: not set

// What the environment leaves open and the machine makes worth setting, as NAME and VALUE. Never overrides a setting.
//   OMP_NUM_THREADS  one per core, not per hardware thread, and no more than the control group's quota
//   OMP_PROC_BIND, OMP_PLACES  with several NUMA nodes and a thread for every core: a thread stays on its core. On one
//                    node threads are left free to move away from cores that other programs use
//   of a rank whose launcher leaves open where it runs: as many threads as its share has cores (rank_place.h)
//   GOMP_SPINCOUNT   threads that wait spin for some microseconds, then sleep; GCC's default is milliseconds, which
//                    takes the turns of the threads that are waited for wherever other programs run
// `ranks` of this machine share what its control group has; `rank_cores`: the share of cores, if it was decided.
std::vector<std::pair<std::string, std::string>> missing_settings(const Machine& machine,
                                                                  const Environment& environment, int ranks = 1,
                                                                  std::optional<int64_t> rank_cores = {});

// To be called first in main(): binds a rank whose launcher bound nothing (it may run where the process that started it
// may) to the NUMA nodes of its share, unless the environment has places for threads; starts the program again with the missing settings, or returns if there are none. On
// several NUMA nodes it also spreads memory evenly over them, unless a policy is set already (numactl). The names of
// the added settings are left in TROUPE_PLACED.
void place_process(char** argv);

// For another program that this one starts: takes back what place_process() set, which the other finds out for itself.
void unplace_process();

// Why there are as many threads as there are: "one per allowed core", "OMP_NUM_THREADS=2".
std::string describe_threads(const Environment& environment);

// "2 threads, cpus 0-3 (1 of 2 NUMA nodes)", or that a launcher or the environment decided: of a rank, for the log.
std::string describe_rank_place(int threads, const Environment& environment);

// "2 threads on 2 cores, free to move; huge pages: madvise; 23.4 GiB of memory on 1 node": for the start of a run.
std::string describe_placement(const Machine& machine, int threads, const Environment& environment);

}  // namespace troupe
