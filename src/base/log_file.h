// A file that keeps what the log says, beside stderr, with the time of each line: the log of a run.
#pragma once

#include <filesystem>
#include <string_view>

namespace troupe::log {

// While it lives, every line of the log is appended to `path`, and first the lines said before it was opened (the last
// 100 that no file has had). One at a time in a process. Throws kEnvironment if it cannot be opened; a line that cannot
// be written later is a warning, once.
class File {
 public:
  explicit File(const std::filesystem::path& path);
  ~File();
  File(const File&) = delete;
  File& operator=(const File&) = delete;
};

// For the file alone: what stderr shows in another way (a bar, the error that ends the program).
void write_to_file(std::string_view line);

}  // namespace troupe::log
