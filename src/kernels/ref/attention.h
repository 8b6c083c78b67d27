// Causal attention as its equations read; tasks are those of ops/attention.h. Sums are in double.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "tensor/host_matrix.h"

namespace troupe::ref {

// sum_c a_c b_c
template <class A, class B>
double dot_product(const A* a, const B* b, int64_t count) {
  double sum = 0.0;
  for (int64_t c = 0; c < count; ++c) sum += static_cast<double>(a[c]) * static_cast<double>(b[c]);
  return sum;
}

// The softmax of a query over the keys [first, end) that it may see, into p; returns log sum_j exp(logit_j), or -inf
// without any valid key.
template <class Logit>
double causal_softmax(int64_t first, int64_t end, std::vector<double>& p, const Logit& logit) {
  double largest = -std::numeric_limits<double>::infinity();
  for (int64_t j = first; j < end; ++j) largest = std::max(largest, p[j] = logit(j));
  if (largest == -std::numeric_limits<double>::infinity()) {
    std::fill(p.begin() + first, p.begin() + end, 0.0);
    return largest;
  }
  double sum = 0.0;
  for (int64_t j = first; j < end; ++j) sum += p[j] = std::exp(p[j] - largest);
  for (int64_t j = first; j < end; ++j) p[j] /= sum;
  return largest + std::log(sum);
}

template <class Task>
void attention_forward(const Task& task) {
  using operand = typename Task::operand;
  const auto& s = task.shape;
  const HostMatrix<const operand> q_THC = task.q_THC, k_TGC = task.k_TGC, v_TGC = task.v_TGC;
  const HostMatrix<operand> ctx_THC = task.ctx_THC;
  const int64_t H = s.heads.H, C = s.heads.C;
  std::vector<double> p(static_cast<size_t>(s.S)), sum(static_cast<size_t>(C));
  for (int64_t b = 0; b < s.B; ++b)
    for (int64_t h = 0; h < H; ++h)
      for (int64_t i = 0; i < s.S; ++i) {
        const int64_t row = (b * H + h) * s.S + i, first = s.heads.first_key(i), kv = s.heads.kv_head(h) * C;
        const operand* q = q_THC.row(b * s.S + i) + h * C;
        task.lse_BHS[row] = static_cast<typename Task::real>(causal_softmax(first, i + 1, p, [&](int64_t j) {
          return s.sees(b, i, j) ? s.heads.scale * dot_product(q, k_TGC.row(b * s.S + j) + kv, s.heads.C)
                               : -std::numeric_limits<double>::infinity();
        }));
        std::fill(sum.begin(), sum.end(), 0.0);
        for (int64_t j = first; j <= i; ++j) {
          const double weight = p[j] * s.dropout.scale(row, j, s.S);
          for (int64_t c = 0; c < C; ++c) sum[c] += weight * static_cast<double>(v_TGC(b * s.S + j, kv + c));
        }
        for (int64_t c = 0; c < C; ++c) ctx_THC(b * s.S + i, h * C + c) = static_cast<operand>(sum[c]);
      }
}

// Writes the gradients of one head, [S, C], to its columns.
template <class T>
void store_head(const std::vector<double>& gradient, int64_t first_row, int64_t first_column, int64_t C,
                const Matrix<T>& matrix) {
  const HostMatrix out(matrix);
  for (size_t x = 0; x < gradient.size(); ++x) {
    const auto i = static_cast<int64_t>(x);
    out(first_row + i / C, first_column + i % C) = static_cast<T>(gradient[x]);
  }
}

template <class Task>
void attention_backward(const Task& task) {
  using operand = typename Task::operand;
  const auto& s = task.shape;
  const HostMatrix<const operand> q_THC = task.q_THC, k_TGC = task.k_TGC, v_TGC = task.v_TGC, ctx_THC = task.ctx_THC,
                                  dctx_THC = task.dctx_THC;
  const int64_t H = s.heads.H, G = s.heads.G, C = s.heads.C;
  const double scale = s.heads.scale;
  std::vector<double> dq(static_cast<size_t>(s.S * C)), dk(dq.size()), dv(dq.size());  // of one head
  for (int64_t b = 0; b < s.B; ++b)
    for (int64_t g = 0; g < G; ++g) {
      std::fill(dk.begin(), dk.end(), 0.0);
      std::fill(dv.begin(), dv.end(), 0.0);
      for (int64_t h = 0; h < H; ++h) {
        if (s.heads.kv_head(h) != g) continue;
        std::fill(dq.begin(), dq.end(), 0.0);
        for (int64_t i = 0; i < s.S; ++i) {
          const int64_t row = (b * H + h) * s.S + i;
          const operand* q = q_THC.row(b * s.S + i) + h * C;
          const operand* dctx = dctx_THC.row(b * s.S + i) + h * C;
          const double delta = dot_product(dctx, ctx_THC.row(b * s.S + i) + h * C, C);
          for (int64_t j = s.heads.first_key(i); j <= i; ++j) {
            if (!s.sees(b, i, j)) continue;
            const operand* k = k_TGC.row(b * s.S + j) + g * C;
            const double p = std::exp(scale * dot_product(q, k, C) - task.lse_BHS[row]);
            const double mask = s.dropout.scale(row, j, s.S);
            const double dlogit = p * (mask * dot_product(dctx, v_TGC.row(b * s.S + j) + g * C, C) - delta);
            for (int64_t c = 0; c < C; ++c) {
              dv[j * C + c] += mask * p * static_cast<double>(dctx[c]);
              dq[i * C + c] += scale * dlogit * static_cast<double>(k[c]);
              dk[j * C + c] += scale * dlogit * static_cast<double>(q[c]);
            }
          }
        }
        store_head(dq, b * s.S, h * C, C, task.dq_THC);
      }
      store_head(dk, b * s.S, g * C, C, task.dk_TGC);
      store_head(dv, b * s.S, g * C, C, task.dv_TGC);
    }
}

template <class Task>
void attention_decode(const Task& task) {
  using operand = typename Task::operand;
  const auto& heads = task.heads;
  const int64_t C = heads.C;
  for (const auto& sequence : task.sequences) {
    std::vector<const operand*> keys, values;  // row by row
    for (const auto& segment : sequence.past)
      for (int64_t j = 0; j < segment.k_LGC.rows; ++j) {
        keys.push_back(HostMatrix(segment.k_LGC).row(j));
        values.push_back(HostMatrix(segment.v_LGC).row(j));
      }
    const auto num_keys = static_cast<int64_t>(keys.size());
    const HostMatrix<const operand> q_NHC = sequence.q_NHC;
    const HostMatrix<operand> ctx_NHC = sequence.ctx_NHC;
    const int64_t N = q_NHC.rows;
    std::vector<double> p(keys.size());
    for (int64_t n = 0; n < N; ++n)
      for (int64_t h = 0; h < heads.H; ++h) {
        const int64_t position = num_keys - N + n, first = heads.first_key(position), kv = heads.kv_head(h) * C;
        causal_softmax(first, position + 1, p, [&](int64_t j) {
          return heads.scale * dot_product(q_NHC.row(n) + h * C, keys[j] + kv, C);
        });
        for (int64_t c = 0; c < C; ++c) {
          double sum = 0.0;
          for (int64_t j = first; j <= position; ++j) sum += p[j] * static_cast<double>(values[j][kv + c]);
          ctx_NHC(n, h * C + c) = static_cast<operand>(sum);
        }
      }
  }
}

}  // namespace troupe::ref
