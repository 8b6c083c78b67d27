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

TEST(NamedPath, NamesAreVisibleText) {
  const auto refusal = [](const char* text) {
    return test::error_of([&] { parse_named_path(text, "data"); }, ErrorCode::kUsage);
  };
  EXPECT_EQ(refusal("a\nb=c"), "data: expected a NAME of visible text (UTF-8), got \"a\\nb\"");
  EXPECT_EQ(refusal(" =c"), "data: expected a NAME of visible text (UTF-8), got \" \"");
  EXPECT_EQ(refusal("a\xff=c"), "data: expected a NAME of visible text (UTF-8), got \"a\ufffd\"");
  EXPECT_EQ(read(parse_named_path("\u4e16 1=c", "data")), "\u4e16 1 at c (given)");
}

TEST(NamedPaths, TellApartWhatEndsAlike) {
  const auto names = [](const std::vector<std::string>& texts) {
    std::string all;
    for (const NamedPath& one : parse_named_paths(texts, "data.valid")) all += one.name + " ";
    return all;
  };
  EXPECT_EQ(names({"a/valid", "b/valid/", "other"}), "a/valid b/valid other ");
  EXPECT_EQ(names({"/x/a/valid", "/y/a/valid", "valid=c", "/z/valid"}), "x/a/valid y/a/valid valid z/valid ");
  EXPECT_EQ(names({}), "");
  for (const std::vector<std::string>& texts :
       {std::vector<std::string>{"x=a", "x=b"}, {"a/x", "a/y/../x"}, {"x=a", "x=a"}})
    EXPECT_EQ(test::error_of([&] { parse_named_paths(texts, "data.valid"); }, ErrorCode::kUsage),
              "data.valid: expected each name once, got x twice (write NAME=PATH)");
}

TEST(NamedPath, RefusesWhatHasNoNameOrNoPath) {
  for (const char* text : {"", "=", "=data", "books="})
    EXPECT_EQ(test::error_of([&] { parse_named_path(text, "--data"); }, ErrorCode::kUsage),
              std::string("--data: expected NAME=PATH or PATH, got \"") + text + "\"");
}

}  // namespace
}  // namespace troupe
