// The ranks that mpirun or srun started. One thread makes all calls (MPI_THREAD_FUNNELED): the order of calls is the
// order in the program, and nothing can cross.
#pragma once

#include <memory>
#include <string>

#include "dist/communicator.h"

namespace troupe {

struct WorldOptions {
  // Without an answer of the other ranks, until all are ended; some more at the start. 0: waits for ever.
  double watchdog_s = 60.0;
};

// Processes that a launcher says it started together; 1 without any launcher.
int launched_ranks();
int launched_rank();  // which of them this one is

// All that were started together, or one alone. Throws kEnvironment where there are several and the program is built
// without MPI, or the launcher and MPI do not know of each other. At most once in a process. The last one to end it
// calls MPI_Finalize.
std::unique_ptr<Communicator> start_world(const WorldOptions& options);

// "Open MPI v4.1.4"; or that it is not built in.
std::string mpi_version();
bool has_mpi();

}  // namespace troupe
