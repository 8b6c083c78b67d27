// Models of other programs, and of Troupe itself, as model directories.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>

#include "io/gguf.h"
#include "model/model_tensors.h"
#include "model/reshape.h"
#include "troupe/config.h"

namespace troupe {

struct Conversion {
  std::string format_from;        // "fairseq", "hf", "troupe"
  std::filesystem::path folder;   // of the source, where its tokenizer is if it has one
  ModelConfig config;
  int64_t tensors = 0, params = 0;
};

struct ConversionTarget {
  std::string format = "troupe";  // or "hf", "gguf"
  std::string family = "auto";    // hf: a row of hf_families()
  SaveOptions save = {};
  GgmlType type = GgmlType::kF32;  // gguf: of its matrices
  // gguf: what the file holds besides; asked once the source is open.
  std::function<GgufMetadata(const Conversion&)> tokenizer = {};
  std::filesystem::path adapter = {};  // merged into the model; empty: none
  // What to make of the model then (model/reshape.h); empty: nothing.
  std::function<ReshapedModel(const ModelConfig&, ParameterSource)> reshape = {};
};

// Writes the model at `source` (a model directory of ours or Hugging Face's, a run, or what FairseqCheckpoint takes) into
// `folder`, which exists; with "gguf" into the file of this name. `gelu` overrides what the source says. What is not carried over, and values that are not
// finite, are log lines. Throws kData as the readers do, and kUsage naming what a target cannot express.
Conversion convert_model(const std::filesystem::path& source, std::optional<Gelu> gelu,
                         const std::filesystem::path& folder, const ConversionTarget& target = {});

}  // namespace troupe
