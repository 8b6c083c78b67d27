// Files that appear whole or not at all: written under a temporary name in the same folder, synced to disk, renamed,
// and the folder synced. A crash at any moment leaves either the old file or the new one, and at worst a temporary
// (its name contains ".tmp-").
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "io/unfinished.h"
#include "io/writer_lock.h"

namespace troupe {

// Size and XXH3-64 checksum of a file as it was written.
struct FileSummary {
  uint64_t bytes = 0;
  uint64_t xxh3 = 0;
  bool operator==(const FileSummary&) const = default;
};

// Receives the bytes of one file in order. Every failure throws kEnvironment naming the file and the system's reason.
class FileWriter {
 public:
  explicit FileWriter(const std::filesystem::path& path);  // creates; an existing file is an error
  ~FileWriter();                                           // closes; removes the file unless close() was called
  FileWriter(const FileWriter&) = delete;
  FileWriter& operator=(const FileWriter&) = delete;

  void write(const void* data, size_t size);
  void write(std::string_view text) { write(text.data(), text.size()); }
  FileSummary close();  // flushes, syncs to disk, closes
  const std::filesystem::path& path() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

using FileBody = std::function<void(FileWriter&)>;

// Writes `path` atomically, replacing an existing file. Missing parent folders are created.
// Throws kEnvironment naming the path; then `path` is as it was before.
FileSummary write_file_atomically(const std::filesystem::path& path, const FileBody& body);
FileSummary write_file_atomically(const std::filesystem::path& path, std::string_view bytes);

// A copy of `from` as the new file `to`; for folders that are not there yet (AtomicDirectory). Throws kData if `from`
// cannot be read, kEnvironment if `to` cannot be written, naming the file and the system's reason.
void copy_into(const std::filesystem::path& from, const std::filesystem::path& to);

// A folder that appears whole or not at all. Files are put into path(); commit() syncs them and renames the folder.
class AtomicDirectory {
 public:
  // The destination's lock is held until commit(): a second writer is refused (io/writer_lock.h), and what killed ones
  // left is removed.
  explicit AtomicDirectory(std::filesystem::path destination);
  ~AtomicDirectory();  // removes the temporary folder unless committed
  AtomicDirectory(const AtomicDirectory&) = delete;
  AtomicDirectory& operator=(const AtomicDirectory&) = delete;

  const std::filesystem::path& path() const { return temporary_; }
  const std::filesystem::path& destination() const { return destination_; }

  enum class Existing { kRefuse, kReplace };
  // Throws kUsage if the destination is a non-empty folder (kRefuse) or a file. kReplace exchanges the two folders in
  // one step and then removes the old one. Every file in path() must have been closed; they are synced here.
  void commit(Existing existing = Existing::kRefuse);

 private:
  std::filesystem::path destination_, temporary_;
  WriterLock lock_;
  std::optional<Unfinished> unfinished_;
  bool committed_ = false;
};

// The name of a temporary beside `path` that no other process or thread uses: "NAME.tmp-PID-N".
std::filesystem::path temporary_name(const std::filesystem::path& path);
bool is_temporary_name(const std::filesystem::path& path);

// The whole file as a string. Throws kData if it is missing or unreadable, naming the path and the system's reason.
std::string read_file(const std::filesystem::path& path);

}  // namespace troupe
