// Where the data written by fairseq's code is: tests/data/golden/fairseq-small, or the folder named by the environment
// variable TROUPE_GOLDEN_FAIRSEQ, which holds data of the same kind (its README.md says what every file is). What such
// a folder lacks is skipped by name.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <stdexcept>
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

// What such a folder lacks: a file, a tensor, a key. Tests made by the macros below end as skipped then, which names
// it. A checkpoint without one of its ranks is no lack but broken, and fails.
struct NotInTheData : std::runtime_error {
  using std::runtime_error::runtime_error;
};

inline void run_or_skip(void (*body)()) {
  try {
    body();
  } catch (const NotInTheData& lacking) {
    GTEST_SKIP() << "not in the data: " << lacking.what();
  } catch (const nlohmann::json::out_of_range& lacking) {
    GTEST_SKIP() << "not in the data: " << lacking.what();
  }
}

// `path`, which is there.
inline std::filesystem::path present(const std::filesystem::path& path) {
  if (!std::filesystem::exists(path)) throw NotInTheData(path.string());
  return path;
}

// model.pt, or model-shared.pt and model-rank-*.pt: the initial weights in one of the folders.
inline bool has_initial_model(const std::filesystem::path& folder) {
  return std::filesystem::exists(folder / "model.pt") || std::filesystem::exists(folder / "model-shared.pt");
}
inline std::filesystem::path initial_model(const std::filesystem::path& folder) {
  if (!has_initial_model(folder)) throw NotInTheData((folder / "model.pt").string() + ", model-shared.pt");
  return std::filesystem::exists(folder / "model.pt") ? folder / "model.pt" : folder / "model";
}

}  // namespace troupe::test

// TEST and TEST_P over data that may lack something.
#define TROUPE_GOLDEN_TEST(suite, name)                                       \
  static void suite##_##name##_golden();                                      \
  TEST(suite, name) { ::troupe::test::run_or_skip(suite##_##name##_golden); } \
  static void suite##_##name##_golden()
#define TROUPE_GOLDEN_TEST_P(suite, name)                                            \
  struct suite##_##name##_golden : suite {                                           \
    static void run();                                                               \
  };                                                                                 \
  TEST_P(suite, name) { ::troupe::test::run_or_skip(suite##_##name##_golden::run); } \
  void suite##_##name##_golden::run()
