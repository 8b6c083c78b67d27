// A fairseq checkpoint as a model of ours: its settings as a ModelConfig, its tensors as parameters.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "io/fairseq_checkpoint.h"
#include "nn/parameters.h"
#include "troupe/config.h"

namespace troupe {

// What the checkpoint's settings and shapes say (docs/formats/fairseq.md lists them). `gelu` overrides activation_fn:
// fairseq computes the tanh approximation where Megatron is installed, and the checkpoint does not tell.
// Throws kData naming file and setting for a variant that this decoder is not (post-norm, untied output, ...).
ModelConfig config_of(const FairseqCheckpoint& checkpoint, std::optional<Gelu> gelu = std::nullopt);

// One line for every setting that is not carried over.
std::vector<std::string> ignored_settings(const FairseqCheckpoint& checkpoint);

// Throws kData naming tensor and shapes unless the checkpoint holds exactly the table's parameters and the output
// matrix equals the embedding.
void check_tensors(const FairseqCheckpoint& checkpoint, const ParameterTable& table);

// The values of one parameter, after check_tensors().
void read_parameter(const FairseqCheckpoint& checkpoint, const Parameter& parameter, std::span<float> out);

}  // namespace troupe
