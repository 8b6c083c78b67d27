// Output layer with cross-entropy as its equations read (ops/loss.h). Sums are in double.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <span>
#include <vector>

#include "tensor/matrix.h"

namespace troupe::ref {

// l_v = h . E_v with E rounded to the operand type, into `logits`; returns log sum_v exp(l_v).
template <class P>
double output_logits(const typename P::operand* h, Matrix<const typename P::real> embed_VD,
                     std::vector<double>& logits) {
  using operand = typename P::operand;
  for (int64_t v = 0; v < embed_VD.rows; ++v) {
    logits[v] = 0.0;
    for (int64_t d = 0; d < embed_VD.cols; ++d)
      logits[v] += static_cast<double>(h[d]) * static_cast<double>(static_cast<operand>(embed_VD(v, d)));
  }
  const double largest = *std::max_element(logits.begin(), logits.end());
  double sum = 0.0;
  for (const double logit : logits) sum += std::exp(logit - largest);
  return largest + std::log(sum);
}

template <class P>
void output_loss(Matrix<const typename P::real> embed_VD, Matrix<const typename P::operand> h_TD,
                 std::span<const int32_t> targets_T, std::span<typename P::real> nll_T, std::span<int32_t> argmax_T) {
  std::vector<double> logits(static_cast<size_t>(embed_VD.rows));
  for (int64_t t = 0; t < h_TD.rows; ++t) {
    const double lse = output_logits<P>(h_TD.row(t), embed_VD, logits);
    nll_T[t] = targets_T[t] < 0 ? 0 : static_cast<typename P::real>(lse - logits[targets_T[t]]);
    if (!argmax_T.empty())
      argmax_T[t] = static_cast<int32_t>(std::max_element(logits.begin(), logits.end()) - logits.begin());
  }
}

// dl_v = softmax(l)_v - [v = target] for a scored token;  dh = sum_v dl_v E_v,  dE_v += dl_v h.
template <class P>
void output_loss_with_gradient(Matrix<const typename P::real> embed_VD, Matrix<const typename P::operand> h_TD,
                               std::span<const int32_t> targets_T, std::span<typename P::real> nll_T,
                               Matrix<typename P::real> dh_TD, typename P::real* dembed_VD) {
  using real = typename P::real;
  using operand = typename P::operand;
  const int64_t T = h_TD.rows, V = embed_VD.rows, D = embed_VD.cols;
  std::vector<double> logits(static_cast<size_t>(V)), dh(static_cast<size_t>(D)), dembed(static_cast<size_t>(V * D));
  for (int64_t t = 0; t < T; ++t) {
    std::fill(dh.begin(), dh.end(), 0.0);
    nll_T[t] = 0;
    if (targets_T[t] >= 0) {
      const double lse = output_logits<P>(h_TD.row(t), embed_VD, logits);
      nll_T[t] = static_cast<real>(lse - logits[targets_T[t]]);
      for (int64_t v = 0; v < V; ++v) {
        const double dlogit = std::exp(logits[v] - lse) - (v == targets_T[t] ? 1.0 : 0.0);
        for (int64_t d = 0; d < D; ++d) {
          dh[d] += dlogit * static_cast<double>(static_cast<operand>(embed_VD(v, d)));
          dembed[v * D + d] += dlogit * static_cast<double>(h_TD(t, d));
        }
      }
    }
    for (int64_t d = 0; d < D; ++d) dh_TD(t, d) = static_cast<real>(dh[d]);
  }
  for (int64_t i = 0; dembed_VD && i < V * D; ++i) dembed_VD[i] += static_cast<real>(dembed[i]);
}

}  // namespace troupe::ref
