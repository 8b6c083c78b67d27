// Causal multi-head attention over whole sequences (Vaswani et al. 2017; fairseq modules/multihead_attention.py):
//   p[i, j] = softmax_j(scale * q_i . k_j), j <= i, i - j < window, key j valid and of the same text;   ctx_i = sum_j dropout(p)[i, j] v_j
// Head h of q uses columns [h C, (h + 1) C) and meets head h / (H / G) of k and v. The views may be columns of one
// matrix. S x S is never stored.
// A value of v that is not finite may reach queries of the 63 positions before it as well: kernels multiply blocks of
// 64 keys whole, and the weight 0 of a key that is not seen times NaN is NaN. Weights that are not finite are refused
// when a model is read, losses and scores where they are computed.
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
  Matrix<const operand> q_THC, k_TGC, v_TGC;  // [T, H C], [T, G C]
  Matrix<operand> ctx_THC;                    // overwritten
  std::span<real> lse_BHS;                    // gets log(sum_j exp(scale q.k)) for the backward pass

  static Implementations<AttentionForward> implementations();
};

// With p~ = m p (m the dropout factor), dp~_ij = dctx_i . v_j and delta_i = sum_j p~_ij dp~_ij = dctx_i . ctx_i:
//   dv_j = sum_i p~_ij dctx_i,   dl_ij = p_ij (m_ij dp~_ij - delta_i),
//   dq_i = scale sum_j dl_ij k_j,   dk_j = scale sum_i dl_ij q_i
// dk and dv are sums over the query heads that share them, in order, in real; rounded once.
template <class P>
struct AttentionBackward {
  using real = typename P::real;
  using operand = typename P::operand;
  static constexpr std::string_view kName = "attention_backward";

  AttentionShape shape;
  Matrix<const operand> q_THC, k_TGC, v_TGC, ctx_THC;
  std::span<const real> lse_BHS;
  Matrix<const operand> dctx_THC;
  Matrix<operand> dq_THC, dk_TGC, dv_TGC;  // overwritten

  static Implementations<AttentionBackward> implementations();
};

// New queries of each sequence against its cached keys and values (see DecodeSequence): no gradient, no dropout.
// Sequences may differ in length; one call serves a whole batch. How the past is cut into segments changes no bit.
template <class P>
struct AttentionDecode {
  using operand = typename P::operand;
  static constexpr std::string_view kName = "attention_decode";

  AttentionHeads heads;
  std::span<const DecodeSequence<P>> sequences;

  static Implementations<AttentionDecode> implementations();
};

}  // namespace troupe
