// Checkpoints of a run: ROOT/step-00000400/ with its files and manifest.json (docs/formats/checkpoint.md). A checkpoint
// is written to a temporary name, synced and renamed, so a folder of the final name is whole unless its disk lies; the
// manifest's sizes and checksums find out. A crash at any moment costs at most the checkpoint being written.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "io/atomic_file.h"
#include "io/safetensors.h"

namespace troupe {

struct Checkpoint {
  std::filesystem::path folder;
  int64_t step = 0;
};

// What manifest.json says.
struct Manifest {
  int64_t step = 0;
  std::map<std::string, FileSummary> files;  // by name
};

// Throws kData "WHERE: ...": broken JSON, another format, a file name with a folder in it.
Manifest parse_manifest(std::string_view text, const std::string& where);

// One checkpoint being written. Nothing is visible under the final name before commit(); without it all is removed.
class CheckpointWriter {
 public:
  CheckpointWriter(const std::filesystem::path& root, int64_t step);

  // Throws kEnvironment naming the file when the disk refuses.
  void add_file(const std::string& name, const FileBody& body);
  void add_tensors(const std::string& name, const std::vector<TensorToWrite>& tensors, const Metadata& metadata = {});
  void add_json(const std::string& name, const nlohmann::ordered_json& value);
  // A file that somebody else wrote into path().
  void add_written(const std::string& name, const FileSummary& file) { manifest_.files[name] = file; }
  const std::filesystem::path& path() const { return directory_.path(); }
  // Writes the manifest, syncs everything and renames. An older checkpoint of the same step is replaced.
  Checkpoint commit();

 private:
  Manifest manifest_;
  AtomicDirectory directory_;
};

// "" if the folder holds every file of its manifest with the right size and checksum; otherwise what is wrong, naming
// the file: "step-00000400/model.safetensors: expected 1024 bytes, got 512".
enum class Thoroughness { kSizes, kChecksums };
std::string problem_of(const Checkpoint& checkpoint, Thoroughness thoroughness = Thoroughness::kChecksums);

// All entries with a checkpoint's name, newest first, complete or not; empty if there is no such root. Throws kData if
// the root is there and no folder that can be listed (a file, a link to nowhere, no permission).
std::vector<Checkpoint> list_checkpoints(const std::filesystem::path& root);

// The newest complete one, and the newer ones that are not, with what is wrong; problems name the file.
struct BrokenCheckpoint {
  Checkpoint checkpoint;
  std::string problem;
};
struct FoundCheckpoints {
  std::optional<Checkpoint> newest;
  std::vector<BrokenCheckpoint> broken;  // newest first
};
FoundCheckpoints find_checkpoints(const std::filesystem::path& root);

// The newest complete one. Every newer one that is not complete is named in a warning with its problem.
std::optional<Checkpoint> newest_complete(const std::filesystem::path& root);

// Renames a checkpoint that is not complete, so that nothing replaces or removes it: "step-00000400.damaged". Returns
// the new name. Only for the one process that owns the root.
std::filesystem::path set_aside(const Checkpoint& broken);

// Keeps the newest `keep_last` (at least 1) checkpoints that are whole by their sizes and removes older ones, in such
// a way that a crash leaves no half. Removes nothing, with a warning, unless a kept one passes its checksums.
void prune_checkpoints(const std::filesystem::path& root, int64_t keep_last);

// Removes what crashed writers and removers left. Only for the one process that owns the root.
void remove_leftovers(const std::filesystem::path& root);

}  // namespace troupe
