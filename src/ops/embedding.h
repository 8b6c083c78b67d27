// x[t] = dropout(scale * E[token_t] + P[position_t]) (fairseq models/transformer.py, no norm on the embedding).
#pragma once

#include <cstdint>
#include <span>

#include "ops/dropout.h"
#include "ops/op.h"
#include "tensor/matrix.h"

namespace troupe {

template <class P>
struct EmbeddingForward {
  using real = typename P::real;
  static constexpr std::string_view kName = "embedding_forward";

  std::span<const int32_t> tokens_T, positions_T;  // rows of embed_VD and of positions_PD
  Matrix<const real> embed_VD, positions_PD;  // positions_PD may be empty: nothing is added
  double scale = 1.0;
  Dropout dropout;
  Matrix<real> x_TD;  // overwritten

  static Implementations<EmbeddingForward> implementations();
};

// dE[token_t] += scale dropout'(dx_t), dP[position_t] += dropout'(dx_t), in token order for every row.
template <class P>
struct EmbeddingBackward {
  using real = typename P::real;
  static constexpr std::string_view kName = "embedding_backward";

  std::span<const int32_t> tokens_T, positions_T;
  int64_t pad_id = -1, pad_position = 1;  // their rows get nothing from this side, as nn.Embedding's padding_idx
  double scale = 1.0;
  Dropout dropout;
  Matrix<const real> dx_TD;
  Matrix<real> dembed_VD, dpositions_PD;  // added to; each may be empty

  static Implementations<EmbeddingBackward> implementations();
};

// Fairseq's sinusoidal rows 0 .. P-1, computed in float32 operation by operation
// (modules/sinusoidal_positional_embedding.py:36-58): [sin(p w_0) .. sin(p w_h-1), cos(p w_0) ..], row 1 zero.
template <class Real>
struct SinusoidalPositions {
  using real = Real;
  static constexpr std::string_view kName = "sinusoidal_positions";

  Matrix<real> table_PD;  // overwritten

  static Implementations<SinusoidalPositions> implementations();
};

}  // namespace troupe
