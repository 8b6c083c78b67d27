// The one exception type of the library. Its message has the shape
//   where: field: expected ..., got ... (hint)
// and its code decides the exit status of the program (docs/cli.md); the library itself never prints or exits.
#pragma once

#include <stdexcept>
#include <string>

namespace troupe {

// Values are the program's exit codes.
enum class ErrorCode {
  kNo = 1,             // ran, but the answer is no (a threshold missed, a verification failed)
  kUsage = 2,          // bad flag, configuration or shape at an API edge
  kData = 3,           // bad data file, model or checkpoint
  kEnvironment = 4,    // instruction set, memory, disk, missing library
  kNonFinite = 5,      // loss or gradient is not finite
  kInternal = 70,      // a bug of ours
  kInterrupted = 130,  // SIGINT or SIGTERM; what can be resumed was saved
};

class Error : public std::runtime_error {
 public:
  Error(ErrorCode code, const std::string& message) : std::runtime_error(message), code_(code) {}
  ErrorCode code() const { return code_; }

 private:
  ErrorCode code_;
};

}  // namespace troupe
