// Causal multi-head attention over whole sequences (Vaswani et al. 2017; fairseq modules/multihead_attention.py):
//   p[i, j] = softmax_j(scale * q_i . k_j), j <= i and key j valid;   ctx_i = sum_j dropout(p)[i, j] v_j
// q, k, v are the three thirds of a row of qkv [T, 3D]; head h uses columns [h C, (h + 1) C). S x S is never stored.
#pragma once

#include <cstdint>
#include <span>

#include "kernels/attention_shape.h"
#include "ops/op.h"
#include "tensor/matrix.h"

namespace troupe {

template <class P>
struct AttentionForward {
  using real = typename P::real;
  using operand = typename P::operand;
  static constexpr std::string_view kName = "attention_forward";

  AttentionShape shape;
  Matrix<const operand> qkv_T3D;
  Matrix<operand> ctx_TD;   // [T, D], overwritten
  std::span<real> lse_BHS;  // [B, H, S], gets log(sum_j exp(scale q.k)) for the backward pass

  static Implementations<AttentionForward> implementations();
};

// With p~ = m p (m the dropout factor), dp~_ij = dctx_i . v_j and delta_i = sum_j p~_ij dp~_ij = dctx_i . ctx_i:
//   dv_j = sum_i p~_ij dctx_i,   dl_ij = p_ij (m_ij dp~_ij - delta_i),
//   dq_i = scale sum_j dl_ij k_j,   dk_j = scale sum_i dl_ij q_i
template <class P>
struct AttentionBackward {
  using real = typename P::real;
  using operand = typename P::operand;
  static constexpr std::string_view kName = "attention_backward";

  AttentionShape shape;
  Matrix<const operand> qkv_T3D, ctx_TD;
  std::span<const real> lse_BHS;
  Matrix<const operand> dctx_TD;
  Matrix<operand> dqkv_T3D;  // overwritten

  static Implementations<AttentionBackward> implementations();
};

// New queries of each sequence against its cached keys and values (see DecodeSequence): no gradient, no dropout.
// D = q.cols = H * C. Sequences may differ in length; one call serves a whole batch.
template <class P>
struct AttentionDecode {
  using operand = typename P::operand;
  static constexpr std::string_view kName = "attention_decode";

  int64_t H = 0;
  double scale = 1.0;
  std::span<const DecodeSequence<P>> sequences;

  static Implementations<AttentionDecode> implementations();
};

}  // namespace troupe
