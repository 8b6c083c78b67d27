// Models of other programs, and of Troupe itself, as model directories.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "troupe/config.h"

namespace troupe {

struct Conversion {
  std::string format_from;        // "fairseq", "troupe"
  std::filesystem::path folder;   // of the source, where its tokenizer is if it has one
  ModelConfig config;
  int64_t tensors = 0, params = 0;
};

// Writes the model at `source` (a model directory, a run, or what FairseqCheckpoint takes) into `folder`, which exists.
// `gelu` overrides what the source says. What is not carried over, and values that are not finite, are log lines.
// Throws kData as the readers do.
Conversion convert_model(const std::filesystem::path& source, std::optional<Gelu> gelu,
                         const std::filesystem::path& folder);

}  // namespace troupe
