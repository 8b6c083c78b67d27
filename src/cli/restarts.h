// troupe train and finetune with --restarts: the same command again, started by a launcher (mpirun, srun) or alone, going
// on from its newest checkpoint each time that it dies.
#pragma once

#include <string>
#include <string_view>

namespace CLI {
class App;
}

namespace troupe::cli {

struct RestartFlags {
  int restarts = 0;
  std::string launcher;  // words in front of the program: "mpirun -n 4"

  bool any() const { return restarts > 0 || !launcher.empty(); }
};

void add_restart_flags(CLI::App& command, RestartFlags& flags);

// Runs this process's own command line without these flags under the launcher; with --resume after the first time. What
// ends it for a reason that stays (usage, data, values that are not finite, somebody who asked) ends this, too, quietly
// with the same status. Throws kEnvironment when no restart is left, naming `command`, "train".
void run_with_restarts(const RestartFlags& flags, std::string_view command);

}  // namespace troupe::cli
