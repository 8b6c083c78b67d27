#include "io/atomic_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <vector>

#include "base/error.h"
#include "base/log.h"
#include "io/made_folders.h"
#include "io/regular_file.h"
#include "io/unfinished.h"

namespace troupe {
namespace fs = std::filesystem;
namespace {

[[noreturn]] void fail_system(const fs::path& path, const char* action) {
  const int reason = errno;
  fail(ErrorCode::kEnvironment, "{}: expected to {}, got: {}", path.string(), action, std::strerror(reason));
}

void sync_path(const fs::path& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) fail_system(path, "open it for syncing");
  const int status = ::fsync(fd);
  const int reason = errno;
  ::close(fd);
  errno = reason;
  if (status != 0 && reason != EINVAL) fail_system(path, "sync it to disk");  // EINVAL: the file system cannot
}

fs::path folder_of(const fs::path& path) {
  const fs::path parent = path.parent_path();
  return parent.empty() ? fs::path(".") : parent;
}

void sync_tree(const fs::path& folder) {
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (entry.is_directory())
      sync_tree(entry.path());
    else
      sync_path(entry.path());
  }
  sync_path(folder);
}

// Folders "NAME.tmp-PID-N" beside `destination`, whose lock we hold: their writers were killed.
void remove_abandoned(const fs::path& destination) {
  const std::string prefix = destination.filename().string() + ".tmp-";
  std::vector<fs::path> abandoned;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(folder_of(destination), ignored)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with(prefix) && name.find_first_not_of("0123456789-", prefix.size()) == name.npos &&
        entry.is_directory(ignored) && !entry.is_symlink(ignored))
      abandoned.push_back(entry.path());
  }
  for (const fs::path& folder : abandoned)
    if (fs::remove_all(folder, ignored); !ignored)
      log::info("removed {}, which an interrupted command had left", folder.string());
}

}  // namespace

struct FileWriter::State {
  fs::path path;
  int fd = -1;
  uint64_t bytes = 0;
  XXH3_state_t* hash = nullptr;
};

FileWriter::FileWriter(const fs::path& path) : state_(std::make_unique<State>()) {
  state_->path = path;
  state_->fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  if (state_->fd < 0) fail_system(path, "create it");
  state_->hash = XXH3_createState();
  if (!state_->hash) fail(ErrorCode::kEnvironment, "{}: out of memory for a checksum", path.string());
  XXH3_64bits_reset(state_->hash);
}

FileWriter::~FileWriter() {
  if (state_->fd >= 0) {
    ::close(state_->fd);
    ::unlink(state_->path.c_str());
  }
  XXH3_freeState(state_->hash);
}

void FileWriter::write(const void* data, size_t size) {
  XXH3_64bits_update(state_->hash, data, size);
  state_->bytes += size;
  const char* next = static_cast<const char*>(data);
  while (size > 0) {
    constexpr size_t kMost = size_t{1} << 30;  // Linux writes at most 2 GiB a call
    const ssize_t written = ::write(state_->fd, next, size < kMost ? size : kMost);
    if (written < 0) {
      if (errno == EINTR) continue;
      fail_system(state_->path, "write to it");
    }
    next += written;
    size -= static_cast<size_t>(written);
  }
}

FileSummary FileWriter::close() {
  if (::fsync(state_->fd) != 0 && errno != EINVAL) fail_system(state_->path, "sync it to disk");
  const int fd = state_->fd;
  state_->fd = -1;
  if (::close(fd) != 0) fail_system(state_->path, "close it");
  return {state_->bytes, XXH3_64bits_digest(state_->hash)};
}

const fs::path& FileWriter::path() const { return state_->path; }

fs::path temporary_name(const fs::path& path) {
  static std::atomic<unsigned> counter{0};
  const std::string clean = path.filename().empty() ? path.parent_path().string() : path.string();
  for (;;) {
    const fs::path name = fmt::format("{}.tmp-{}-{}", clean, ::getpid(), counter++);
    std::error_code ignored;
    if (!fs::exists(fs::symlink_status(name, ignored))) return name;
  }
}

bool is_temporary_name(const fs::path& path) { return path.filename().string().find(".tmp-") != std::string::npos; }

FileSummary write_file_atomically(const fs::path& path, const FileBody& body) {
  const MadeFolders folders(folder_of(path));
  const fs::path temporary = temporary_name(path);
  FileWriter writer(temporary);
  const Unfinished unfinished(temporary);
  body(writer);
  const FileSummary summary = writer.close();
  const UnfinishedLock lock;
  if (::rename(temporary.c_str(), path.c_str()) != 0) {
    const int reason = errno;
    ::unlink(temporary.c_str());
    errno = reason;
    fail_system(path, "put it in place");
  }
  sync_path(folder_of(path));
  return summary;
}

FileSummary write_file_atomically(const fs::path& path, std::string_view bytes) {
  return write_file_atomically(path, [&](FileWriter& writer) { writer.write(bytes); });
}

void copy_into(const fs::path& from, const fs::path& to) {
  const int fd = ::open(from.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) fail(ErrorCode::kData, "{}: expected a readable file, got: {}", from.string(), std::strerror(errno));
  const std::unique_ptr<const int, void (*)(const int*)> closed(&fd, [](const int* open) { ::close(*open); });
  FileWriter writer(to);
  std::vector<char> piece(1 << 20);
  for (ssize_t got; (got = ::read(fd, piece.data(), piece.size())) != 0;) {
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) fail(ErrorCode::kData, "{}: expected a readable file, got: {}", from.string(), std::strerror(errno));
    writer.write(piece.data(), static_cast<size_t>(got));
  }
  writer.close();
}

AtomicDirectory::AtomicDirectory(fs::path destination)
    : destination_(destination.filename().empty() ? destination.parent_path() : std::move(destination)),  // "DIR/"
      lock_(destination_) {
  remove_abandoned(destination_);
  temporary_ = temporary_name(destination_);
  if (::mkdir(temporary_.c_str(), 0777) != 0) fail_system(temporary_, "create this folder");
  unfinished_.emplace(temporary_);
}

AtomicDirectory::~AtomicDirectory() {
  std::error_code ignored;
  if (!committed_) fs::remove_all(temporary_, ignored);
}

void AtomicDirectory::commit(Existing existing) {
  sync_tree(temporary_);
  const UnfinishedLock lock;
  // rename() replaces an empty folder, and refuses anything else.
  if (::rename(temporary_.c_str(), destination_.c_str()) != 0) {
    if (errno == ENOTDIR)
      fail(ErrorCode::kUsage, "{}: expected a folder to write, got a file of this name", destination_.string());
    if (errno != ENOTEMPTY && errno != EEXIST) fail_system(destination_, "put this folder in place");
    if (existing == Existing::kRefuse)
      fail(ErrorCode::kUsage, "{}: expected a new or empty folder, got one with files in it", destination_.string());
    if (::renameat2(AT_FDCWD, temporary_.c_str(), AT_FDCWD, destination_.c_str(), RENAME_EXCHANGE) != 0)
      fail_system(destination_, "exchange this folder for its new version");
    sync_path(folder_of(destination_));
    std::error_code ignored;
    fs::remove_all(temporary_, ignored);  // now the old version; a leftover is a temporary name
  }
  committed_ = true;
  lock_.release();
  sync_path(folder_of(destination_));
}

std::string read_file(const fs::path& path) {
  const int fd = open_regular_file(path);
  const auto refuse = [&] {
    const int reason = errno;
    ::close(fd);
    fail(ErrorCode::kData, "{}: expected a readable file, got: {}", path.string(), std::strerror(reason));
  };
  std::string text;
  struct stat info {};
  if (::fstat(fd, &info) == 0 && info.st_size > 0) text.reserve(static_cast<size_t>(info.st_size) + 1);
  char block[1 << 16];
  for (;;) {
    const ssize_t got = ::read(fd, block, sizeof block);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) refuse();
    if (got == 0) break;
    text.append(block, static_cast<size_t>(got));
  }
  ::close(fd);
  return text;
}

}  // namespace troupe
