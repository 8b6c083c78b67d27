// Causal attention as its equations read (ops/attention.h). Sums are in double.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <span>
#include <vector>

#include "kernels/attention_shape.h"
#include "tensor/matrix.h"

namespace troupe::ref {

// sum_c a_c b_c
template <class A, class B>
double dot_product(const A* a, const B* b, int64_t count) {
  double sum = 0.0;
  for (int64_t c = 0; c < count; ++c) sum += static_cast<double>(a[c]) * static_cast<double>(b[c]);
  return sum;
}

// Query n of `queries` positions that are the last of all keys: softmax over the keys it may see, into p; returns
// log sum_j exp(logit_j), or -inf without any key.
template <class Logit>
double causal_softmax(int64_t visible, std::vector<double>& p, const Logit& logit) {
  double largest = -std::numeric_limits<double>::infinity();
  for (int64_t j = 0; j < visible; ++j) largest = std::max(largest, p[j] = logit(j));
  if (largest == -std::numeric_limits<double>::infinity()) {
    std::fill(p.begin(), p.begin() + visible, 0.0);
    return largest;
  }
  double sum = 0.0;
  for (int64_t j = 0; j < visible; ++j) sum += p[j] = std::exp(p[j] - largest);
  for (int64_t j = 0; j < visible; ++j) p[j] /= sum;
  return largest + std::log(sum);
}

template <class P>
void attention_forward(const AttentionShape& s, Matrix<const typename P::operand> qkv_T3D,
                       Matrix<typename P::operand> ctx_TD, std::span<typename P::real> lse_BHS) {
  using operand = typename P::operand;
  const int64_t D = s.H * s.C;
  std::vector<double> p(static_cast<size_t>(s.S)), sum(static_cast<size_t>(s.C));
  for (int64_t b = 0; b < s.B; ++b)
    for (int64_t h = 0; h < s.H; ++h)
      for (int64_t i = 0; i < s.S; ++i) {
        const auto head = [&](int64_t j, int64_t third) { return qkv_T3D.row(b * s.S + j) + third * D + h * s.C; };
        const int64_t row = (b * s.H + h) * s.S + i;
        lse_BHS[row] = static_cast<typename P::real>(causal_softmax(i + 1, p, [&](int64_t j) {
          return s.valid(b, j) ? s.scale * dot_product(head(i, 0), head(j, 1), s.C)
                               : -std::numeric_limits<double>::infinity();
        }));
        std::fill(sum.begin(), sum.end(), 0.0);
        for (int64_t j = 0; j <= i; ++j) {
          const double weight = p[j] * s.dropout.scale(row, j, s.S);
          for (int64_t c = 0; c < s.C; ++c) sum[c] += weight * static_cast<double>(head(j, 2)[c]);
        }
        for (int64_t c = 0; c < s.C; ++c) ctx_TD(b * s.S + i, h * s.C + c) = static_cast<operand>(sum[c]);
      }
}

// With p~ = m p (m the dropout factor), dp~_ij = dctx_i . v_j and delta_i = sum_j p~_ij dp~_ij = dctx_i . ctx_i:
//   dv_j = sum_i p~_ij dctx_i,   dl_ij = p_ij (m_ij dp~_ij - delta_i),
//   dq_i = scale sum_j dl_ij k_j,   dk_j = scale sum_i dl_ij q_i
template <class P>
void attention_backward(const AttentionShape& s, Matrix<const typename P::operand> qkv_T3D,
                        Matrix<const typename P::operand> ctx_TD, std::span<const typename P::real> lse_BHS,
                        Matrix<const typename P::operand> dctx_TD, Matrix<typename P::operand> dqkv_T3D) {
  using operand = typename P::operand;
  const int64_t D = s.H * s.C;
  std::vector<double> gradient(static_cast<size_t>(3 * s.S * s.C));  // dq, dk, dv of one head
  for (int64_t b = 0; b < s.B; ++b)
    for (int64_t h = 0; h < s.H; ++h) {
      const auto head = [&](int64_t j, int64_t third) { return qkv_T3D.row(b * s.S + j) + third * D + h * s.C; };
      double* dq = gradient.data();
      double* dk = dq + s.S * s.C;
      double* dv = dk + s.S * s.C;
      std::fill(gradient.begin(), gradient.end(), 0.0);
      for (int64_t i = 0; i < s.S; ++i) {
        const int64_t row = (b * s.H + h) * s.S + i;
        const operand* dctx = dctx_TD.row(b * s.S + i) + h * s.C;
        const double delta = dot_product(dctx, ctx_TD.row(b * s.S + i) + h * s.C, s.C);
        for (int64_t j = 0; j <= i; ++j) {
          if (!s.valid(b, j)) continue;
          const double p = std::exp(s.scale * dot_product(head(i, 0), head(j, 1), s.C) - lse_BHS[row]);
          const double mask = s.dropout.scale(row, j, s.S);
          const double dlogit = p * (mask * dot_product(dctx, head(j, 2), s.C) - delta);
          for (int64_t c = 0; c < s.C; ++c) {
            dv[j * s.C + c] += mask * p * static_cast<double>(dctx[c]);
            dq[i * s.C + c] += s.scale * dlogit * static_cast<double>(head(j, 1)[c]);
            dk[j * s.C + c] += s.scale * dlogit * static_cast<double>(head(i, 0)[c]);
          }
        }
      }
      for (int64_t third = 0; third < 3; ++third)
        for (int64_t i = 0; i < s.S; ++i)
          for (int64_t c = 0; c < s.C; ++c)
            dqkv_T3D(b * s.S + i, third * D + h * s.C + c) =
                static_cast<operand>(gradient[(third * s.S + i) * s.C + c]);
    }
}

template <class P>
void attention_decode(int64_t H, double scale, std::span<const DecodeSequence<P>> sequences) {
  for (const DecodeSequence<P>& sequence : sequences) {
    const int64_t N = sequence.q_ND.rows, C = sequence.q_ND.cols / H;
    std::vector<double> p(static_cast<size_t>(sequence.num_keys()));
    for (int64_t n = 0; n < N; ++n)
      for (int64_t h = 0; h < H; ++h) {
        const int64_t visible = sequence.num_keys() - N + n + 1;
        causal_softmax(visible, p, [&](int64_t j) {
          return scale * dot_product(sequence.q_ND.row(n) + h * C, sequence.key(j) + h * C, C);
        });
        for (int64_t c = h * C; c < (h + 1) * C; ++c) {
          double sum = 0.0;
          for (int64_t j = 0; j < visible; ++j) sum += p[j] * static_cast<double>(sequence.value(j)[c]);
          sequence.ctx_ND(n, c) = static_cast<typename P::operand>(sum);
        }
      }
  }
}

}  // namespace troupe::ref
