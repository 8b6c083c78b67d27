// Running another program without a shell.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace troupe::corpus {

struct ProcessResult {
  int status = 0;      // exit status; 127 if the program is missing, 128 + signal if it was killed
  std::string output;  // standard output
  std::string errors;  // standard error
};

// Runs argv[0], looked up in PATH, in `folder`, with no standard input and messages in English.
// Throws Error(kEnvironment) if no process can be started.
ProcessResult run_program(const std::vector<std::string>& argv, const std::filesystem::path& folder);

}  // namespace troupe::corpus
