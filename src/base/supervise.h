// Another program in the place of this one: it has our standard streams and gets the signals that we get.
#pragma once

#include <string>
#include <vector>

namespace troupe {

struct Supervised {
  int status = 0;      // as in ProcessResult (base/process.h)
  bool asked = false;  // to end, by SIGINT, SIGTERM or SIGHUP to this process, which it was told as SIGTERM
};

// Runs argv[0], looked up in PATH, in a process group of its own, without the settings that place_process() added for
// this process alone, and waits for its end. It gets SIGTERM if this process ends before it, and
// SIGKILL if all that it started has ended, or all of this program that it did, and it does not notice. Throws
// Error(kEnvironment) if there is no such program, or it cannot be started.
Supervised supervise(const std::vector<std::string>& argv);

}  // namespace troupe
