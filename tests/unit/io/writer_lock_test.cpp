#include "io/writer_lock.h"

#include <fmt/core.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "error_of.h"
#include "io/atomic_file.h"
#include "temporary_folder.h"

namespace troupe {
namespace {

namespace fs = std::filesystem;
using test::error_of;
using test::TemporaryFolder;
using testing::AllOf;
using testing::HasSubstr;

TEST(WriterLock, TheSecondWriterIsToldWhoIsAtWork) {
  const TemporaryFolder folder;
  WriterLock first(folder / "run", WriterLock::Place::kInside);
  const auto second = [&] { WriterLock(folder / "run", WriterLock::Place::kInside); };
  EXPECT_THAT(error_of(second, ErrorCode::kEnvironment),
              AllOf(HasSubstr("run: expected no other writer, got one at work"),
                    HasSubstr(fmt::format("process {} on ", ::getpid()))));
  first.release();
  EXPECT_FALSE(fs::exists(folder / "run"));  // nothing was written
  EXPECT_EQ(error_of(second), "");
}

TEST(WriterLock, LeavesAFolderThatWasThereOrThatHoldsSomething) {
  const TemporaryFolder folder;
  fs::create_directory(folder / "old");
  { WriterLock lock(folder / "old", WriterLock::Place::kInside); }
  EXPECT_TRUE(fs::is_empty(folder / "old"));
  {
    WriterLock lock(folder / "new/x");
    write_file_atomically(folder / "new/x", "1");
  }
  EXPECT_EQ(read_file(folder / "new/x"), "1");
  EXPECT_FALSE(fs::exists(folder / "new/x.tmp-lock"));
}

TEST(WriterLock, EndsWithItsHolder) {
  const TemporaryFolder folder;
  int ready[2];
  ASSERT_EQ(pipe(ready), 0);
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    AtomicDirectory held(folder / "out");
    write_file_atomically(held.path() / "half", "1");
    if (write(ready[1], "x", 1) != 1) _exit(1);
    for (;;) pause();
  }
  char byte = 0;
  ASSERT_EQ(read(ready[0], &byte, 1), 1);
  EXPECT_THAT(error_of([&] { AtomicDirectory(folder / "out"); }, ErrorCode::kEnvironment),
              HasSubstr(fmt::format("out: expected no other writer, got one at work: process {} on", child)));
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
  close(ready[0]), close(ready[1]);
  EXPECT_TRUE(fs::exists(folder / "out.tmp-lock"));  // unlocked
  AtomicDirectory next(folder / "out");
  write_file_atomically(next.path() / "whole", "2");
  next.commit();
  EXPECT_EQ(std::distance(fs::directory_iterator(folder.path()), fs::directory_iterator()), 1)
      << "the lock or the half folder of the killed writer is still there";
}

}  // namespace
}  // namespace troupe
