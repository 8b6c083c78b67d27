// Files and folders that are being written under a temporary name (atomic_file.h, writer_lock.h), and how to remove
// them when a signal ends the program.
#pragma once

#include <filesystem>

namespace troupe {

// While it lives, `path` is unfinished.
class Unfinished {
 public:
  explicit Unfinished(std::filesystem::path path);
  ~Unfinished();
  Unfinished(const Unfinished&) = delete;
  Unfinished& operator=(const Unfinished&) = delete;

 private:
  std::filesystem::path path_;
};

// Holds off the removal below, for the moment in which a temporary name becomes the final one. A thread may nest it.
class UnfinishedLock {
 public:
  UnfinishedLock();
  ~UnfinishedLock();
  UnfinishedLock(const UnfinishedLock&) = delete;
  UnfinishedLock& operator=(const UnfinishedLock&) = delete;
};

// While it lives, SIGINT, SIGTERM and SIGHUP (unless it is ignored, as under nohup) remove everything unfinished and
// end the program with exit code 130, whatever it is doing. Not for commands that save what they have.
class RemoveOnInterrupt {
 public:
  RemoveOnInterrupt();
  ~RemoveOnInterrupt();
  RemoveOnInterrupt(const RemoveOnInterrupt&) = delete;
  RemoveOnInterrupt& operator=(const RemoveOnInterrupt&) = delete;
};

}  // namespace troupe
