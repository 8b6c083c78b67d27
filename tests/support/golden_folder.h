// Where the data written by fairseq's code is: tests/data/golden/fairseq-small, or the folder named by the environment
// variable TROUPE_GOLDEN_FAIRSEQ, which holds data of the same kind (its README.md says what every file is). What such
// a folder lacks is skipped by name.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <string>

namespace troupe::test {

inline std::filesystem::path committed_fairseq() {
  return std::filesystem::path(TROUPE_TEST_DATA) / "golden" / "fairseq-small";
}

inline std::filesystem::path fairseq_folder() {
  const char* const folder = std::getenv("TROUPE_GOLDEN_FAIRSEQ");
  return folder && *folder ? std::filesystem::path(folder) : committed_fairseq();
}

inline std::filesystem::path fairseq(const std::string& path) { return fairseq_folder() / path; }

// The only file of `folder` that begins and ends so, whatever number of updates stands between; else empty.
inline std::filesystem::path only_file(const std::filesystem::path& folder, const std::string& begin,
                                       const std::string& end) {
  std::filesystem::path found;
  if (!std::filesystem::is_directory(folder)) return found;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    if (name.size() > begin.size() + end.size() && name.starts_with(begin) && name.ends_with(end)) {
      EXPECT_TRUE(found.empty()) << folder << ": expected one file " << begin << "*" << end;
      found = entry.path();
    }
  }
  return found;
}

}  // namespace troupe::test

// Skips the test if a file or folder is not there.
#define TROUPE_GOLDEN_OR_SKIP(path) \
  if (!std::filesystem::exists(path)) GTEST_SKIP() << "not in the data: " << (path).string()
