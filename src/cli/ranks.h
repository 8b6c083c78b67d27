// A command that several processes run together, started by mpirun or srun: the first one speaks.
#pragma once

#include <functional>

#include "dist/communicator.h"

namespace CLI {
class App;
}

namespace troupe::cli {

// Another rank has said why: the program ends with this status and without a message.
struct Quietly {
  int exit_code = 0;
};

// --watchdog, for run_on_ranks().
void add_watchdog_flag(CLI::App& command, double& seconds);

// Calls work(ranks), or work(nullptr) in one process. The first rank alone logs and writes to stdout. What is wrong with
// all is said once; a rank that alone cannot go on says so and ends all. `watchdog_s` as in WorldOptions.
void run_on_ranks(double watchdog_s, const std::function<void(Communicator* ranks)>& work);

// In the log, of a command whose ranks share an evaluation.
void describe_shared_evaluation(const Communicator* ranks);

// Throws kUsage where mpirun or srun started several processes of a command that is one.
void require_one_process(const char* command);

}  // namespace troupe::cli
