// x[t] = dropout(scale * E[token_t] + P[position_t]) (fairseq models/transformer.py, no norm on the embedding).
#pragma once

#include <cstdint>
#include <span>

#include "ops/dropout.h"
#include "tensor/matrix.h"
#include "tensor/precision.h"

namespace troupe {

// tokens_T index rows of embed_VD, positions_T rows of positions_PD; x_TD is overwritten.
template <class P>
void embedding_forward(std::span<const int32_t> tokens_T, std::span<const int32_t> positions_T,
                       Matrix<const typename P::real> embed_VD, Matrix<const typename P::real> positions_PD,
                       double scale, const Dropout& dropout, Matrix<typename P::real> x_TD);

// Adds to dembed_VD and dpositions_PD where they are set, in token order for every row. Rows of the pad
// token (pad_id) and of position row 1 get nothing from this side, as nn.Embedding's padding_idx.
template <class P>
void embedding_backward(std::span<const int32_t> tokens_T, std::span<const int32_t> positions_T, int64_t pad_id,
                        double scale, const Dropout& dropout, Matrix<const typename P::real> dx_TD,
                        Matrix<typename P::real> dembed_VD, Matrix<typename P::real> dpositions_PD);

// Fairseq's sinusoidal rows 0 .. count-1 in float32, operation by operation
// (modules/sinusoidal_positional_embedding.py:36-58): [sin(p w_0) .. sin(p w_h-1), cos(p w_0) ..], row 1 zero.
void sinusoidal_positions(Matrix<float> table_PD);

}  // namespace troupe
