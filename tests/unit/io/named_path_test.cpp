#include "io/named_path.h"

#include <gtest/gtest.h>

#include "error_of.h"
#include "io/atomic_file.h"
#include "temporary_folder.h"

namespace troupe {
namespace {

namespace fs = std::filesystem;

std::string read(const NamedPath& named) {
  return named.name + " at " + named.path + (named.given ? " (given)" : "");
}

TEST(NamedPath, IsAPathWithANameOrWithout) {
  EXPECT_EQ(read(parse_named_path("books=data/b", "data")), "books at data/b (given)");
  EXPECT_EQ(read(parse_named_path("data/books", "data")), "books at data/books");
  EXPECT_EQ(read(parse_named_path("data/books/", "data")), "books at data/books/");
  EXPECT_EQ(read(parse_named_path("data/x/..", "data")), "data at data/x/..");
  EXPECT_EQ(parse_named_path(".", "data").name, fs::current_path().filename().string());
}

TEST(NamedPath, KeepsTheEqualsSignsOfPaths) {
  const test::TemporaryFolder folder;
  fs::create_directories(folder.path() / "lr=0.1");
  EXPECT_EQ(read(parse_named_path("runs/lr=0.1", "data")), "lr=0.1 at runs/lr=0.1");
  EXPECT_EQ(read(parse_named_path("slow=runs/lr=0.1", "data")), "slow at runs/lr=0.1 (given)");
  EXPECT_EQ(read(parse_named_path("lr=0.1", "data", folder.path())), "lr=0.1 at lr=0.1");
  EXPECT_EQ(read(parse_named_path("lr=0.1", "data")), "lr at 0.1 (given)") << "nothing of this name here";
  EXPECT_EQ(read(parse_named_path("lr=./0.1", "data", folder.path())), "lr at ./0.1 (given)");
}

TEST(NamedPath, RefusesWhatHasNoNameOrNoPath) {
  for (const char* text : {"", "=", "=data", "books="})
    EXPECT_EQ(test::error_of([&] { parse_named_path(text, "--data"); }, ErrorCode::kUsage),
              std::string("--data: expected NAME=PATH or PATH, got \"") + text + "\"");
}

}  // namespace
}  // namespace troupe
