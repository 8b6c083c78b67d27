// What a decoder keeps: weights, memory, and the batch at hand as host and ops have it.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "dist/communicator.h"
#include "model/decoder.h"
#include "model/workspace.h"

namespace troupe {

template <class P>
struct DecoderState {
  DecoderWeights<P> weights;
  DecoderOptions options;
  Workspace<P> work;
  ModelConfig sizes;  // of what `work` has memory for

  // The batch at hand as the host has it, and what its MoE layers reported. Where ranks share it, all have the whole of
  // it, of which the pass takes `own` sequences.
  SequenceShape shape;
  Share own;
  std::vector<int32_t> positions_T, targets_T;
  std::vector<uint8_t> valid_T;
  std::vector<int32_t> key_end_T;
  std::vector<RouterStats> stats;
  Decoder<P>* teacher = nullptr;
  Distillation distillation;

  void read_batch(const Batch& batch, bool shared);
  void place_batch();
  Share own_tokens() const { return {own.begin * shape.S, own.end * shape.S}; }
  int64_t routing_unit() const;
  bool is_shared() const { return shape.whole.B > 0; }
  void merge_reports();
};

// What a rank has of all.
template <class T>
std::span<T> part(std::span<T> all, Share share) {
  return all.subspan(static_cast<size_t>(share.begin), static_cast<size_t>(share.size()));
}

}  // namespace troupe
