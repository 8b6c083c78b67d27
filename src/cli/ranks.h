// A command that several processes run together, started by mpirun or srun: the first one speaks.
#pragma once

#include <functional>

#include "dist/communicator.h"

namespace troupe::cli {

// Another rank has said why: the program ends with this status and without a message.
struct Quietly {
  int exit_code = 0;
};

// Calls work(ranks), or work(nullptr) in one process. What is wrong with all is said once; a rank that alone cannot go on
// says so and ends all. `watchdog_s` as in WorldOptions.
void run_on_ranks(double watchdog_s, const std::function<void(Communicator* ranks)>& work);

// Throws kUsage where mpirun or srun started several processes of a command that is one.
void require_one_process(const char* command);

}  // namespace troupe::cli
