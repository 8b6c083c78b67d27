#include "io/writable.h"

#include "io/atomic_file.h"
#include "io/made_folders.h"

namespace troupe {

void check_writable(const std::filesystem::path& path) {
  const std::filesystem::path folder = path.parent_path();
  const MadeFolders folders(folder.empty() ? "." : folder);
  const FileWriter probe(temporary_name(path));  // which goes again, as nothing closes it
}

}  // namespace troupe
