// What a path holds, by the names of files there: nothing of it is parsed or checked.
#pragma once

#include <filesystem>

namespace troupe {

enum class PathKind {
  kCheckpoint,   // a folder with manifest.json (io/checkpoint_directory.h)
  kFairseq,      // a .pt file, a folder with some, or the prefix NAME of NAME-shared.pt (io/fairseq_checkpoint.h)
  kModel,        // a folder with config.json (model/model_directory.h)
  kTokens,       // a folder with index.json (data/shards/dataset.h)
  kTokenShard,   // a .tok file
  kSafetensors,  // a .safetensors file
  kGguf,         // a .gguf file
  kFolder,       // any other folder: a run, perhaps
  kFile,         // any other file
  kNothing,
};

// The first kind that fits, in this order. Throws std::filesystem::filesystem_error as directory_iterator does.
PathKind kind_of_path(const std::filesystem::path& path);

}  // namespace troupe
