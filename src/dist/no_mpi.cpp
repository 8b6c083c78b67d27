// The program built without MPI.
#include "dist/mpi.h"

namespace troupe {

std::unique_ptr<Communicator> start_world(const WorldOptions&) {
  if (const int ranks = launched_ranks(); ranks > 1)
    fail(ErrorCode::kEnvironment,
         "MPI: expected a program built with it, since {} processes were started together, got one built without (they "
         "would all train the same; Debian: libopenmpi-dev, openmpi-bin, then build again)",
         ranks);
  return alone();
}

std::string mpi_version() { return "not built"; }
bool has_mpi() { return false; }

}  // namespace troupe
