// Output layer with cross-entropy as its equations read; tasks are those of ops/loss.h. Sums are in double.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "tensor/host_matrix.h"

namespace troupe::ref {

inline double soft_capped(double logit, double cap) { return cap > 0.0 ? cap * std::tanh(logit / cap) : logit; }

// log sum_v exp(l_v / temperature)
inline double log_sum_exp(const std::vector<double>& logits, double temperature) {
  const double largest = *std::max_element(logits.begin(), logits.end());
  double sum = 0.0;
  for (const double logit : logits) sum += std::exp((logit - largest) / temperature);
  return largest / temperature + std::log(sum);
}

// The bank as the table that it is.
template <class Bank>
auto table_of(const Bank& bank) {
  return HostMatrix(bank.weight(0), bank.out(), bank.in());
}

// l_v = (h . E_v + b_v) / divisor with E rounded to the operand type, capped, into `logits`; returns
// log sum_v exp(l_v).
template <class operand, class Bank>
double output_logits(const operand* h, const Bank& bank, double divisor, double cap, std::vector<double>& logits) {
  const auto embed_VD = table_of(bank);
  const auto* const bias = bank.view().bias;
  for (int64_t v = 0; v < embed_VD.rows; ++v) {
    logits[v] = 0.0;
    for (int64_t d = 0; d < embed_VD.cols; ++d)
      logits[v] += static_cast<double>(h[d]) * static_cast<double>(static_cast<operand>(embed_VD(v, d)));
    if (bias) logits[v] += static_cast<double>(bias[v]);
    logits[v] = soft_capped(logits[v] / divisor, cap);
  }
  return log_sum_exp(logits, 1.0);
}

template <class Task>
void output_loss(const Task& task) {
  const HostMatrix<const typename Task::operand> h_TD = task.h_TD;
  std::vector<double> logits(static_cast<size_t>(task.embed.out()));
  for (int64_t t = 0; t < h_TD.rows; ++t) {
    const double lse = output_logits(h_TD.row(t), task.embed, task.divisor, task.cap, logits);
    const int32_t target = task.targets_T[t];
    task.nll_T[t] = target < 0 ? 0 : static_cast<typename Task::real>(lse - logits[target]);
    if (!task.argmax_T.empty())
      task.argmax_T[t] = static_cast<int32_t>(std::max_element(logits.begin(), logits.end()) - logits.begin());
  }
}

template <class Task>
void output_loss_with_gradient(const Task& task) {
  using real = typename Task::real;
  using operand = typename Task::operand;
  const auto& targets_T = task.targets_T;
  const auto& nll_T = task.nll_T;
  real* const dembed_VD = task.dembed_VD;
  const HostMatrix<const operand> h_TD = task.h_TD;
  const HostMatrix<real> dh_TD = task.dh_TD;
  const auto embed_VD = table_of(task.embed);
  const int64_t T = h_TD.rows, V = embed_VD.rows, D = embed_VD.cols;
  std::vector<double> logits(static_cast<size_t>(V)), dh(static_cast<size_t>(D)), dembed(static_cast<size_t>(V * D)),
      dbias(logits.size());
  const auto& teacher = task.teacher;
  const double alpha = teacher.embed ? teacher.alpha : 0.0, temperature = teacher.temperature;
  std::vector<double> taught(logits.size());
  double squared_lse = 0.0, divergence = 0.0;
  for (int64_t t = 0; t < T; ++t) {
    std::fill(dh.begin(), dh.end(), 0.0);
    nll_T[t] = 0;
    if (targets_T[t] >= 0) {
      const double lse = output_logits(h_TD.row(t), task.embed, task.divisor, task.cap, logits);
      squared_lse += lse * lse;
      nll_T[t] = static_cast<real>(lse - logits[targets_T[t]]);
      double soft_lse = 0.0, taught_lse = 0.0;
      if (teacher.embed) {
        const HostMatrix<const operand> taught_h = teacher.h_TD;
        output_logits(taught_h.row(t), *teacher.embed, teacher.divisor, teacher.cap, taught);
        soft_lse = log_sum_exp(logits, temperature), taught_lse = log_sum_exp(taught, temperature);
        for (int64_t v = 0; v < V; ++v)
          divergence += temperature * temperature * std::exp(taught[v] / temperature - taught_lse) *
                        (taught[v] / temperature - taught_lse - logits[v] / temperature + soft_lse);
      }
      for (int64_t v = 0; v < V; ++v) {
        const double share = task.cap > 0.0 ? logits[v] / task.cap : 0.0;  // d tanh = 1 - tanh^2
        double dlogit = std::exp(logits[v] - lse) * (1.0 - alpha + 2.0 * task.z_loss * lse) -
                        (v == targets_T[t] ? 1.0 - alpha : 0.0);
        if (teacher.embed)
          dlogit += alpha * temperature *
                    (std::exp(logits[v] / temperature - soft_lse) - std::exp(taught[v] / temperature - taught_lse));
        dlogit = dlogit * (1.0 - share * share) / task.divisor;
        dbias[v] += dlogit;
        for (int64_t d = 0; d < D; ++d) {
          dh[d] += dlogit * static_cast<double>(static_cast<operand>(embed_VD(v, d)));
          dembed[v * D + d] += dlogit * static_cast<double>(h_TD(t, d));
        }
      }
    }
    for (int64_t d = 0; d < D; ++d) dh_TD(t, d) = static_cast<real>(dh[d]);
  }
  for (int64_t i = 0; dembed_VD && i < V * D; ++i) dembed_VD[i] += static_cast<real>(dembed[i]);
  for (int64_t v = 0; task.dbias_V && v < V; ++v) task.dbias_V[v] += static_cast<real>(dbias[v]);
  if (task.squared_lse) *task.squared_lse = squared_lse;
  if (teacher.embed) *teacher.divergence = divergence;
}

template <class Task>
void soft_cap(const Task& task) {
  using real = typename Task::real;
  const HostMatrix<real> logits = task.logits;
  for (int64_t i = 0; i < logits.rows; ++i)
    for (int64_t j = 0; j < logits.cols; ++j) logits(i, j) = static_cast<real>(soft_capped(logits(i, j), task.cap));
}

}  // namespace troupe::ref
