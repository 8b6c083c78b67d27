// The way of tokens through a decoder, forward: embedding, layers, final norm. Training and scoring attend over the
// batch, decoding over a cache; everything else is the same.
#pragma once

#include <span>

#include "model/workspace.h"
#include "ops/embedding.h"
#include "ops/transfer.h"

namespace troupe {

constexpr int64_t kEmbeddingLayer = -1;  // the dropout site of the embedding

// The host's token ids and their rows of the position table, token by token.
struct PlacedTokens {
  std::span<const int32_t> ids_T, positions_T;
  int64_t num_positions = 0;  // rows of the table that suffice
};

template <class P>
Dropout embedding_dropout(const DecoderWeights<P>& weights, const RunMode& mode) {
  return mode.dropout(weights.config.dropout, kEmbeddingLayer, RunMode::kEmbedding, mode.first_token);
}

// One layer: attend(layer, x, acts, mid) writes what attention makes of x to mid. The feed-forward block adds to mid
// what it makes of mid, or of x where the two are parallel.
template <class P, class Attend>
void walk_layer(const DecoderWeights<P>& weights, int64_t l, const Pass<P>& pass, Workspace<P>& work,
                const Attend& attend) {
  const auto at = static_cast<size_t>(2 * l);
  LayerActivations<P>& acts = work.layer(l);
  attend(l, work.stream[at], acts.attention, work.stream[at + 1]);
  const Matrix<typename P::real> mid = work.stream[at + 1], x = weights.config.parallel_block ? work.stream[at] : mid;
  std::visit([&](const auto& block) { block.forward(pass, x, mid, acts.of(block), work.stream[at + 2]); },
             weights.layers[static_cast<size_t>(l)].feed_forward);
}

// What a pass's blocks need of tokens and positions, which walk() places.
template <class P>
void set_positions(const DecoderWeights<P>& weights, Workspace<P>& work, int64_t num_positions, Pass<P>& pass) {
  pass.ids_T = work.ids_T;
  pass.positions_T = work.positions_T;
  pass.rotary_PR = work.rotary(weights, num_positions);
}

// Leaves the final hidden states in work.final_norm.y_TD.
template <class P, class Attend>
void walk(const DecoderWeights<P>& weights, const PlacedTokens& tokens, const Pass<P>& pass, Workspace<P>& work,
          const Attend& attend) {
  copy(tokens.ids_T, work.ids_T);
  copy(tokens.positions_T, work.positions_T);
  run(EmbeddingForward<P>{.tokens_T = work.ids_T,
                          .positions_T = work.positions_T,
                          .embed_VD = weights.embedding(),
                          .positions_PD = work.positions(weights, tokens.num_positions),
                          .scale = weights.embedding_scale(),
                          .dropout = embedding_dropout(weights, pass.mode),
                          .x_TD = work.stream[0]});
  for (int64_t l = 0; l < weights.config.num_layers; ++l) walk_layer(weights, l, pass, work, attend);
  weights.final_norm.forward(work.stream.back(), work.final_norm);
}

}  // namespace troupe
