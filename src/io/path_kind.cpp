#include "io/path_kind.h"

#include <algorithm>

namespace troupe {
namespace fs = std::filesystem;

namespace {

PathKind kind_of_folder(const fs::path& folder) {
  if (fs::exists(folder / "manifest.json")) return PathKind::kCheckpoint;
  const auto is_torch = [](const fs::directory_entry& entry) { return entry.path().extension() == ".pt"; };
  if (std::any_of(fs::directory_iterator(folder), fs::directory_iterator(), is_torch)) return PathKind::kFairseq;
  if (fs::exists(folder / "config.json")) return PathKind::kModel;
  if (fs::exists(folder / "index.json")) return PathKind::kTokens;
  return PathKind::kFolder;
}

}  // namespace

PathKind kind_of_path(const fs::path& path) {
  if (fs::is_directory(path)) return kind_of_folder(path);
  if (fs::is_regular_file(path)) {
    if (path.extension() == ".safetensors") return PathKind::kSafetensors;
    if (path.extension() == ".gguf") return PathKind::kGguf;
    if (path.extension() == ".tok") return PathKind::kTokenShard;
    return path.extension() == ".pt" ? PathKind::kFairseq : PathKind::kFile;
  }
  return fs::exists(path.string() + "-shared.pt") ? PathKind::kFairseq : PathKind::kNothing;
}

}  // namespace troupe
