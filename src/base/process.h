// Running another program without a shell.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace troupe {

struct ProcessResult {
  int status = 0;      // exit status; as in a shell 127 if there is no such program, 126 if it cannot be started (then
                       // `errors` says why), 128 + signal if it was killed
  std::string output;  // standard output
  std::string errors;  // standard error
};

// Runs argv[0], looked up in PATH, in `folder` ("" is the current one), with `input` as its standard input and messages
// in English. Throws Error(kEnvironment) if the system gives no pipes.
ProcessResult run_program(const std::vector<std::string>& argv, const std::filesystem::path& folder = {},
                          std::string_view input = {});

}  // namespace troupe
