// The decoder on new positions only, with cached keys and values for the rest: what generation and scoring with shared
// prefixes run. Same blocks and same results as a whole pass (up to the order of attention's sums); routing is
// dropless, since capacity would make a token's output depend on what is decoded beside it, and its policy causal.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "infer/kv_pool.h"
#include "model/decoder.h"
#include "model/workspace.h"
#include "tensor/buffer.h"

namespace troupe {

// New tokens of one sequence.
template <class P>
struct NewTokens {
  std::span<const int32_t> tokens;  // at least one
  KvSequence<P>* past = nullptr;    // the new tokens are appended; no other sequence of the call has the same
};

template <class P>
class IncrementalDecoder {
 public:
  using real = typename P::real;
  using operand = typename P::operand;

  // Has memory of its own: the decoder may train or score meanwhile. Throws kUsage for a routing policy in which a
  // token's experts depend on later tokens.
  explicit IncrementalDecoder(const Decoder<P>& decoder);

  // Final hidden states of all new tokens, sequence after sequence: [sum of lengths, D], valid until the next pass.
  // Throws kData for an id outside the vocabulary, kUsage past the last learned position, and kEnvironment if the pool
  // has not enough pages; the pasts are then as they were.
  Matrix<const operand> run(std::span<const NewTokens<P>> sequences);

  // -log p(target) for rows of hidden states; targets < 0 give 0. argmax may be empty. All three are the host's.
  void score(Matrix<const operand> hidden, std::span<const int32_t> targets, std::span<real> nll,
             std::span<int32_t> argmax = {});

  // Logits [rows, V], for the host.
  void logits(Matrix<const operand> hidden, std::span<real> out);

 private:
  // A layer's attention with the keys and values of the pasts, to which the new ones are written.
  void attend(const Pass<P>& pass, int64_t layer, std::span<const NewTokens<P>> sequences, Matrix<const real> x,
              typename AttentionBlock<P>::Activations& acts, Matrix<real> out) const;

  const DecoderWeights<P>& weights_;
  Workspace<P> work_;
  Buffer<real> values_room_;  // what score() and logits() are about, where ops reach it
  Buffer<int32_t> targets_room_, argmax_room_;
};

}  // namespace troupe
