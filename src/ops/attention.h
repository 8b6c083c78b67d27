// Causal multi-head attention over whole sequences (Vaswani et al. 2017; fairseq modules/multihead_attention.py):
//   p[i, j] = softmax_j(scale * q_i . k_j), j <= i and key j valid;   ctx_i = sum_j dropout(p)[i, j] v_j
// q, k, v are the three thirds of a row of qkv [T, 3D]; head h uses columns [h C, (h + 1) C). S x S is never stored.
// Implementations: kAttention in attention.cpp.
#pragma once

#include <cstdint>
#include <span>

#include "kernels/attention_shape.h"
#include "tensor/matrix.h"
#include "tensor/precision.h"

namespace troupe {

// ctx_TD [T, D] is overwritten; lse_BHS [B, H, S] gets log(sum_j exp(scale q.k)) for the backward pass.
template <class P>
void attention_forward(const AttentionShape& shape, Matrix<const typename P::operand> qkv_T3D,
                       Matrix<typename P::operand> ctx_TD, std::span<typename P::real> lse_BHS);

// dqkv_T3D [T, 3D] is overwritten.
template <class P>
void attention_backward(const AttentionShape& shape, Matrix<const typename P::operand> qkv_T3D,
                        Matrix<const typename P::operand> ctx_TD, std::span<const typename P::real> lse_BHS,
                        Matrix<const typename P::operand> dctx_TD, Matrix<typename P::operand> dqkv_T3D);

// New queries of each sequence against its cached keys and values (see DecodeSequence): no gradient, no dropout.
// D = q.cols = H * C. Sequences may differ in length; one call serves a whole batch.
template <class P>
void attention_decode(int64_t H, double scale, std::span<const DecodeSequence<P>> sequences);

}  // namespace troupe
