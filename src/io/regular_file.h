// Input files are regular files: a FIFO would be waited for, a device has no end. Standard input (`-`) is not opened
// here.
#pragma once

#include <filesystem>
#include <string>

#include "troupe/error.h"

namespace troupe {

// "a file", "a folder", "a FIFO", "a device", "a socket" or "nothing of that name".
std::string kind_of_file(const std::filesystem::path& path);

// A descriptor to read from, for the caller to close; never waits. Throws `code`: "PATH: expected a readable file, got:
// No such file or directory", "PATH: expected a regular file, got a FIFO".
int open_regular_file(const std::filesystem::path& path, ErrorCode code = ErrorCode::kData);

}  // namespace troupe
