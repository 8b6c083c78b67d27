#include <charconv>
#include <cstdlib>
#include <cstring>
#include <initializer_list>

#include "dist/mpi.h"

namespace troupe {
namespace {

int number_in(std::initializer_list<const char*> names, int none) {
  for (const char* name : names) {
    const char* const text = std::getenv(name);
    int value = 0;
    if (text && std::from_chars(text, text + std::strlen(text), value).ec == std::errc() && value >= none) return value;
  }
  return none;
}

}  // namespace

// Open MPI's mpirun; those of MPICH and Intel, and srun --mpi=pmi2; srun.
int launched_ranks() { return number_in({"OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_STEP_NUM_TASKS"}, 1); }
int launched_rank() { return number_in({"OMPI_COMM_WORLD_RANK", "PMI_RANK", "SLURM_PROCID"}, 0); }

}  // namespace troupe
