#include "io/made_folders.h"

#include <unistd.h>

#include "base/error.h"
#include "io/unfinished_folders.h"

namespace troupe {
namespace fs = std::filesystem;

MadeFolders::MadeFolders(const fs::path& folder) {
  std::error_code error;
  for (fs::path at = folder; !at.empty() && !fs::exists(at, error); at = at.parent_path())
    if (!at.filename().empty()) made_.push_back(at);  // "a/b/" is "a/b"
  for (const fs::path& path : made_) add_unfinished_folder(path);
  fs::create_directories(folder, error);
  if (!error || fs::is_directory(folder)) return;
  const std::error_code reason = error;
  remove();
  fail(ErrorCode::kEnvironment, "{}: expected to create this folder, got: {}", folder.string(), reason.message());
}

MadeFolders::~MadeFolders() { remove(); }

void MadeFolders::remove() {
  for (const fs::path& path : made_) {
    ::rmdir(path.c_str());  // which leaves one that holds anything
    forget_unfinished_folder(path);
  }
}

}  // namespace troupe
