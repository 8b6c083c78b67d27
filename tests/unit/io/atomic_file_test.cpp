#include "io/atomic_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <csignal>
#include <nlohmann/json.hpp>

#include "error_of.h"
#include "io/checksum.h"
#include "io/json_file.h"
#include "io/mapped_file.h"
#include "temporary_folder.h"

namespace troupe {
namespace {

namespace fs = std::filesystem;
using test::error_of;
using test::TemporaryFolder;
using testing::AllOf;
using testing::HasSubstr;

int64_t entries_in(const fs::path& folder) {
  return std::distance(fs::directory_iterator(folder), fs::directory_iterator());
}

TEST(AtomicFile, WritesAndReplacesAndSumsUp) {
  const TemporaryFolder folder;
  const fs::path path = folder / "a/b/x.txt";
  const FileSummary summary = write_file_atomically(path, "hello");
  EXPECT_EQ(summary.bytes, 5u);
  EXPECT_EQ(summary.xxh3, xxh3(std::string_view("hello")));
  EXPECT_EQ(summary.xxh3, xxh3_of_file(path));
  EXPECT_EQ(read_file(path), "hello");
  write_file_atomically(path, "");
  EXPECT_EQ(read_file(path), "");
  EXPECT_EQ(entries_in(folder / "a/b"), 1);
}

TEST(AtomicFile, AFailedWriteLeavesTheOldFileAndNoTemporary) {
  const TemporaryFolder folder;
  const fs::path path = folder / "x.txt";
  write_file_atomically(path, "old");
  EXPECT_THROW(write_file_atomically(path,
                                     [](FileWriter& file) {
                                       file.write("half");
                                       throw std::runtime_error("no more");
                                     }),
               std::runtime_error);
  EXPECT_EQ(read_file(path), "old");
  EXPECT_EQ(entries_in(folder.path()), 1);
}

TEST(AtomicFile, ErrorsNameThePathAndTheReason) {
  const TemporaryFolder folder;
  write_file_atomically(folder / "file", "x");
  EXPECT_THAT(error_of([&] { write_file_atomically(folder / "file/x", "y"); }, ErrorCode::kEnvironment),
              AllOf(HasSubstr("file"), HasSubstr("expected to create")));
  fs::create_directory(folder / "folder");
  EXPECT_THAT(error_of([&] { write_file_atomically(folder / "folder", "y"); }, ErrorCode::kEnvironment),
              HasSubstr("expected to put it in place"));
  EXPECT_EQ(entries_in(folder.path()), 2);
  EXPECT_THAT(error_of([&] { read_file(folder / "none"); }), AllOf(HasSubstr("none"), HasSubstr("No such file")));
  EXPECT_THAT(error_of([&] { read_file(folder.path()); }), HasSubstr("a folder"));
  EXPECT_THAT(error_of([&] { MappedFile(folder / "none"); }), AllOf(HasSubstr("none"), HasSubstr("No such file")));
}

TEST(AtomicFile, ReportsAFullDisk) {
  const TemporaryFolder folder;
  // A file-size limit refuses the write as a full disk does (with SIGXFSZ ignored, write() fails with EFBIG).
  const auto previous = std::signal(SIGXFSZ, SIG_IGN);
  rlimit old{};
  getrlimit(RLIMIT_FSIZE, &old);
  const rlimit small{4096, old.rlim_max};
  setrlimit(RLIMIT_FSIZE, &small);
  const std::string message =
      error_of([&] { write_file_atomically(folder / "x", std::string(10000, 'x')); }, ErrorCode::kEnvironment);
  setrlimit(RLIMIT_FSIZE, &old);
  std::signal(SIGXFSZ, previous);
  EXPECT_THAT(message, AllOf(HasSubstr("x.tmp-"), HasSubstr("expected to write to it, got: File too large")));
  EXPECT_TRUE(fs::is_empty(folder.path()));
}

TEST(AtomicFile, IsCopiedWithErrorsThatNameTheFile) {
  const TemporaryFolder folder;
  write_file_atomically(folder / "a", std::string(3 << 20, 'x') + "end");
  copy_into(folder / "a", folder / "b");
  EXPECT_EQ(read_file(folder / "b"), read_file(folder / "a"));
  EXPECT_THAT(error_of([&] { copy_into(folder / "none", folder / "c"); }, ErrorCode::kData),
              HasSubstr("none: expected a readable file, got: No such file"));
  EXPECT_THAT(error_of([&] { copy_into(folder / "a", folder / "no/c"); }, ErrorCode::kEnvironment), HasSubstr("no/c"));
}

TEST(AtomicDirectory, AppearsWhole) {
  const TemporaryFolder folder;
  {
    AtomicDirectory directory(folder / "out/");
    write_file_atomically(directory.path() / "a", "1");
    EXPECT_FALSE(fs::exists(folder / "out"));
    EXPECT_TRUE(is_temporary_name(directory.path()));
    directory.commit();
  }
  EXPECT_EQ(read_file(folder / "out/a"), "1");
  EXPECT_EQ(entries_in(folder.path()), 1);
}

TEST(AtomicDirectory, RefusesOrReplacesAFullDestination) {
  const TemporaryFolder folder;
  write_file_atomically(folder / "out/old", "1");
  write_file_atomically(folder / "file", "1");
  {
    AtomicDirectory directory(folder / "out");
    EXPECT_THAT(error_of([&] { directory.commit(); }, ErrorCode::kUsage),
                HasSubstr("out: expected a new or empty folder"));
    AtomicDirectory onto_file(folder / "file");
    EXPECT_THAT(error_of([&] { onto_file.commit(); }, ErrorCode::kUsage), HasSubstr("got a file of this name"));
  }
  EXPECT_TRUE(fs::exists(folder / "out/old"));
  EXPECT_EQ(entries_in(folder.path()), 2);
  AtomicDirectory directory(folder / "out");
  write_file_atomically(directory.path() / "new", "2");
  directory.commit(AtomicDirectory::Existing::kReplace);
  EXPECT_FALSE(fs::exists(folder / "out/old"));
  EXPECT_EQ(read_file(folder / "out/new"), "2");
  EXPECT_EQ(entries_in(folder.path()), 2);
}

TEST(Checksum, AgreesWithPublishedValues) {
  EXPECT_EQ(sha256("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");  // FIPS 180-2
  EXPECT_EQ(to_hex(xxh3(std::string_view())), "2d06800538d394c2");                               // xxHash's test suite
}

TEST(JsonFile, NamesLineColumnAndDuplicateKeys) {
  const auto refusal = [](const std::string& text) { return error_of([&] { parse_json(text, "x.json"); }); };
  EXPECT_EQ(refusal("{\"a\": [1, {\"a\": 2}], \"b\": {\"a\": 3}}"), "");
  EXPECT_THAT(refusal("{\n  \"a\": 1,\n  oops\n}"), HasSubstr("x.json: line 3, column 3: expected JSON"));
  EXPECT_THAT(refusal("{\"a\": 1, \"a\": 2}"), HasSubstr("x.json: a: expected each key once"));
  EXPECT_THAT(refusal(""), HasSubstr("x.json: column 1"));
  EXPECT_THAT(refusal("\"\xff\""), HasSubstr("x.json: column "));
  EXPECT_THAT(refusal("1e999"), HasSubstr("x.json"));
  EXPECT_THAT(refusal(std::string(100000, '[')), HasSubstr("levels of nesting"));
}

TEST(JsonFile, ReadsBackWhatItWrote) {
  const TemporaryFolder folder;
  const nlohmann::ordered_json value = {{"z", 1}, {"a", {1.5, nullptr, "x"}}};
  write_json_file(folder / "x.json", value);
  EXPECT_EQ(nlohmann::ordered_json::parse(read_file(folder / "x.json")).dump(), value.dump());
  EXPECT_EQ(read_json_file(folder / "x.json")["a"][2], "x");
}

}  // namespace
}  // namespace troupe
