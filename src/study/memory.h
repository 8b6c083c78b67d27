// Memory of training a model on one machine, in bytes, before anything is allocated: on the device in use.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "base/machine.h"
#include "tensor/precision.h"
#include "train/run_config.h"

namespace troupe {

// A part of the memory, and how much of it belongs to experts.
struct MemoryPart {
  int64_t total = 0, experts = 0;
};

struct MemoryEstimate {
  MemoryPart weights;    // float32 masters; with adapters copies of their matrices, too, and they themselves
  MemoryPart gradients;  // float32; released: of the largest layer alone; with adapters theirs and of their matrices
  MemoryPart optimizer;  // Adam's two moments; Muon's momentum, and what its largest update works in
  MemoryPart offloaded;  // moments that lie in the host's memory beside a GPU: not of its memory
  MemoryPart packed;     // bf16 copies of the matrices, one for forward and one for backward, on a GPU one for both; none
                         // in float32
  MemoryPart inference;  // all weights of a model for use: packed matrices alone in bf16, else float32
  int64_t activations = 0;  // of one micro-batch, everything kept; with a dropout of adapters what they work in, too
  int64_t activations_recompute = 0;  // the same with recomputation: layer inputs and one layer's insides
  int64_t workspaces = 0;             // on a GPU what ops work in, above all logits of the output layer
  int64_t libraries = 0;              // and what cuBLASLt and cuDNN want beyond that, about

  int64_t total(bool recompute) const {
    return weights.total + gradients.total + optimizer.total + packed.total +
           (recompute ? activations_recompute : activations) + workspaces + libraries;
  }
};

// `micro_batch` sequences of `seq_len` tokens. Activations are what the decoder's arena takes, to the byte.
MemoryEstimate estimate_memory(const ModelConfig& config, int64_t micro_batch, int64_t seq_len, Precision precision,
                               const OptimizerConfig& optimizer = {}, Freeze freeze = Freeze::kNothing,
                               const LoraConfig& lora = {});

// What a run takes: its own micro-batch, context and precision; in fine-tuning gradients and moments of what is trained
// alone (of chosen experts, which nobody knows before: of all).
MemoryEstimate estimate_memory(const RunConfig& config);

// What may still be taken of the memory of the device in use, as far as it is known.
std::optional<int64_t> free_memory_bytes(const Machine& machine);

// Throws kEnvironment, naming need and have, if a run would take more than this process may have now. Not for a GPU.
void require_memory(const RunConfig& config, const Machine& machine, const std::string& where);

}  // namespace troupe
