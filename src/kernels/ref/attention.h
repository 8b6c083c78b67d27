// Causal attention as its equations read; tasks are those of ops/attention.h. Sums are in double.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

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

template <class Task>
void attention_forward(const Task& task) {
  using operand = typename Task::operand;
  const auto& s = task.shape;
  const auto& qkv_T3D = task.qkv_T3D;
  const int64_t D = s.H * s.C;
  std::vector<double> p(static_cast<size_t>(s.S)), sum(static_cast<size_t>(s.C));
  for (int64_t b = 0; b < s.B; ++b)
    for (int64_t h = 0; h < s.H; ++h)
      for (int64_t i = 0; i < s.S; ++i) {
        const auto head = [&](int64_t j, int64_t third) { return qkv_T3D.row(b * s.S + j) + third * D + h * s.C; };
        const int64_t row = (b * s.H + h) * s.S + i;
        task.lse_BHS[row] = static_cast<typename Task::real>(causal_softmax(i + 1, p, [&](int64_t j) {
          return s.valid(b, j) ? s.scale * dot_product(head(i, 0), head(j, 1), s.C)
                               : -std::numeric_limits<double>::infinity();
        }));
        std::fill(sum.begin(), sum.end(), 0.0);
        for (int64_t j = 0; j <= i; ++j) {
          const double weight = p[j] * s.dropout.scale(row, j, s.S);
          for (int64_t c = 0; c < s.C; ++c) sum[c] += weight * static_cast<double>(head(j, 2)[c]);
        }
        for (int64_t c = 0; c < s.C; ++c) task.ctx_TD(b * s.S + i, h * s.C + c) = static_cast<operand>(sum[c]);
      }
}

template <class Task>
void attention_backward(const Task& task) {
  using operand = typename Task::operand;
  const auto& s = task.shape;
  const auto& qkv_T3D = task.qkv_T3D;
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
        const operand* dctx = task.dctx_TD.row(b * s.S + i) + h * s.C;
        const double delta = dot_product(dctx, task.ctx_TD.row(b * s.S + i) + h * s.C, s.C);
        for (int64_t j = 0; j <= i; ++j) {
          if (!s.valid(b, j)) continue;
          const double p = std::exp(s.scale * dot_product(head(i, 0), head(j, 1), s.C) - task.lse_BHS[row]);
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
            task.dqkv_T3D(b * s.S + i, third * D + h * s.C + c) =
                static_cast<operand>(gradient[(third * s.S + i) * s.C + c]);
    }
}

template <class Task>
void attention_decode(const Task& task) {
  const int64_t H = task.H;
  for (const auto& sequence : task.sequences) {
    const int64_t N = sequence.q_ND.rows, C = sequence.q_ND.cols / H;
    std::vector<double> p(static_cast<size_t>(sequence.num_keys()));
    for (int64_t n = 0; n < N; ++n)
      for (int64_t h = 0; h < H; ++h) {
        const int64_t visible = sequence.num_keys() - N + n + 1;
        causal_softmax(visible, p, [&](int64_t j) {
          return task.scale * dot_product(sequence.q_ND.row(n) + h * C, sequence.key(j) + h * C, C);
        });
        for (int64_t c = h * C; c < (h + 1) * C; ++c) {
          double sum = 0.0;
          for (int64_t j = 0; j < visible; ++j) sum += p[j] * static_cast<double>(sequence.value(j)[c]);
          sequence.ctx_ND(n, c) = static_cast<typename Task::operand>(sum);
        }
      }
  }
}

}  // namespace troupe::ref
