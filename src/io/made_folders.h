// Folders that are made on the way to a file, and go again if it does not come to be.
#pragma once

#include <filesystem>
#include <vector>

namespace troupe {

class MadeFolders {
 public:
  // Creates `folder` and those above it that are missing. Throws kEnvironment naming it.
  explicit MadeFolders(const std::filesystem::path& folder);
  ~MadeFolders();  // removes those it made that are empty
  MadeFolders(const MadeFolders&) = delete;
  MadeFolders& operator=(const MadeFolders&) = delete;

 private:
  void remove();
  std::vector<std::filesystem::path> made_;  // the innermost first
};

}  // namespace troupe
