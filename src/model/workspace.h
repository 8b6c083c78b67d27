// The memory of a pass through a decoder: the residual stream between blocks, what blocks keep for the backward pass,
// scratch. Planned by (configuration, B, S, what is kept) before the pass; the estimate before a run asks the same
// code.
#pragma once

#include <span>
#include <vector>

#include "model/decoder_weights.h"
#include "tensor/arena.h"

namespace troupe {

enum class Keep {
  kAll,          // for a backward pass
  kLayerInputs,  // for a backward pass that runs every layer's forward again
  kNothing,      // layers share one set of activations, and the residual stream runs in place
};

template <class P>
struct LayerActivations {
  typename AttentionBlock<P>::Activations attention;
  typename FfnBlock<P>::Activations ffn;  // one of these two, or both where layers share
  typename MoeBlock<P>::Activations moe;

  auto& of(const FfnBlock<P>&) { return ffn; }
  auto& of(const MoeBlock<P>&) { return moe; }
};

template <class P>
class Workspace {
 public:
  using real = typename P::real;

  explicit Workspace(Memory& memory = host_memory())
      : valid_of_all(memory), ids_of_all(memory), arena_(memory), sinusoids_(memory), turns_(memory) {}

  // Bytes that plan() takes for T = B * S tokens.
  static int64_t bytes(const ModelConfig& config, int64_t T, Keep keep);

  // Does nothing if the last plan was the same.
  void plan(const ModelConfig& config, int64_t B, int64_t S, Keep keep);

  const Arena& arena() const { return arena_; }
  void poison();  // for tests: what no pass has written yet is NaN
  Keep keep() const { return keep_; }
  LayerActivations<P>& layer(int64_t i) { return layers_[keep_ == Keep::kAll ? static_cast<size_t>(i) : 0]; }
  // Rows of the position embeddings: the learned ones, or sinusoids, made here as far as they are needed. Empty if
  // positions are rotary.
  Matrix<const real> positions(const DecoderWeights<P>& weights, int64_t rows);
  // The table of rotary positions for a pass with so many rows of positions (ops/rotary.h). Empty if they are not.
  Matrix<const real> rotary(const DecoderWeights<P>& weights, int64_t rows);

  std::span<int32_t> ids_T, positions_T, targets_T;  // of the batch, as ops read it
  std::span<uint8_t> valid_T;
  std::span<int32_t> key_end_T;
  Buffer<uint8_t> valid_of_all;  // of a batch that ranks share, on a device
  Buffer<int32_t> ids_of_all;
  std::vector<Matrix<real>> stream;  // [2 l] input of layer l, [2 l + 1] after its attention, [2 L] after the last
  typename NormLayer<P>::Activations final_norm;
  Scratch<P> scratch;
  Matrix<real> dx_TD;
  std::span<real> nll_T;
  std::span<int32_t> argmax_T;

 private:
  void lay_out(const ModelConfig& config, int64_t T, Keep keep);

  Arena arena_;
  int64_t B_ = 0, S_ = 0;
  Keep keep_ = Keep::kNothing;
  std::vector<LayerActivations<P>> layers_;
  Buffer<real> sinusoids_;
  int64_t num_sinusoids_ = 0;
  Buffer<real> turns_;
  int64_t num_turns_ = 0, turns_length_ = 0;  // rows of the rotary table; the length that its frequencies are for
};

extern template class Workspace<F64>;
extern template class Workspace<F32>;
extern template class Workspace<Bf16>;

}  // namespace troupe
