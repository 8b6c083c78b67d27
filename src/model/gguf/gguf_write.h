// A model of ours as a GGUF file that llama.cpp loads.
#pragma once

#include <filesystem>

#include "io/gguf.h"
#include "model/model_directory.h"

namespace troupe {

// Writes one tensor at a time in memory: matrices in `type`, vectors and routers in F32; rows that are not whole blocks
// of `type` in F16, with a line of the log. `tokenizer`: more metadata. Returns how many tensors. Atomic. Throws kUsage
// naming what no architecture of gguf_families() can express; then there is no file.
int64_t write_gguf_model(const std::filesystem::path& file, const ModelConfig& config, GgmlType type,
                         const GgufMetadata& tokenizer, const ParameterSource& source);

}  // namespace troupe
