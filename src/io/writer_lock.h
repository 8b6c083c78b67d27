// One writer at a time: of a run, a study, a dataset or corpus being built, a journal. The lock of PATH is the file
// PATH.tmp-lock, or PATH/writer.tmp-lock for a folder that lives on while it is written to; it says who holds it. The
// system releases it when its holder ends, however it ends: what a killed one leaves is an unlocked file that the next
// one takes over.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "io/made_folders.h"
#include "io/unfinished.h"

namespace troupe {

class WriterLock {
 public:
  // Missing parent folders are created. Throws kEnvironment naming the holder (process, host, since when) if there is
  // one: nobody waits. A file system that cannot lock gets a warning.
  enum class Place { kBeside, kInside };
  explicit WriterLock(const std::filesystem::path& path, Place place = Place::kBeside);
  ~WriterLock() { release(); }
  WriterLock(const WriterLock&) = delete;
  WriterLock& operator=(const WriterLock&) = delete;

  void release();  // removes the file, and the folders that the lock created and that are empty

 private:
  std::filesystem::path file_;
  int fd_ = -1;
  std::optional<Unfinished> unfinished_;
  std::optional<MadeFolders> folders_;
};

}  // namespace troupe
