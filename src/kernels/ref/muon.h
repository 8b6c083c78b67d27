// One Muon update as its equations read; the task is that of ops/muon.h. Arithmetic in double, state in `real`.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "kernels/muon_step.h"
#include "kernels/ref/linear.h"

namespace troupe::ref {

// A row-major matrix in double.
struct Dense {
  Dense(int64_t rows, int64_t cols) : rows(rows), cols(cols), values(static_cast<size_t>(rows * cols)) {}
  double& operator()(int64_t i, int64_t j) { return values[static_cast<size_t>(i * cols + j)]; }
  double operator()(int64_t i, int64_t j) const { return values[static_cast<size_t>(i * cols + j)]; }
  int64_t rows, cols;
  std::vector<double> values;
};

inline Dense transposed(const Dense& x) {
  Dense y(x.cols, x.rows);
  for (int64_t i = 0; i < x.rows; ++i)
    for (int64_t j = 0; j < x.cols; ++j) y(j, i) = x(i, j);
  return y;
}

inline Dense product(const Dense& x, const Dense& y) {
  Dense z(x.rows, y.cols);
  for (int64_t i = 0; i < x.rows; ++i)
    for (int64_t j = 0; j < y.cols; ++j)
      for (int64_t k = 0; k < x.cols; ++k) z(i, j) += x(i, k) * y(k, j);
  return z;
}

// As inputs of a product.
template <class P>
void round(Dense& x) {
  for (double& value : x.values) value = static_cast<double>(as_operand<P>(static_cast<typename P::real>(value)));
}

// X = X / |X|, then X <- a X + (b G + c G G) X with G = X X^T, for a matrix that is not taller than wide. X and G are
// rounded before they are used, so that each iteration is one of some X near the last; rounding factors alone, and not
// what is added to their products, leaves twice the error.
template <class P>
Dense newton_schulz(Dense x, int64_t iterations) {
  double squares = 0.0;
  for (const double value : x.values) squares += value * value;
  const double norm = std::max(std::sqrt(squares), NewtonSchulz::kSmallestNorm);
  for (double& value : x.values) value /= norm;
  for (int64_t n = 0; n < iterations; ++n) {
    round<P>(x);
    Dense gram = product(x, transposed(x));
    round<P>(gram);
    Dense polynomial = product(gram, gram);
    for (size_t i = 0; i < gram.values.size(); ++i)
      polynomial.values[i] = NewtonSchulz::b * gram.values[i] + NewtonSchulz::c * polynomial.values[i];
    round<P>(polynomial);
    const Dense moved = product(polynomial, x);
    for (size_t i = 0; i < x.values.size(); ++i) x.values[i] = NewtonSchulz::a * x.values[i] + moved.values[i];
  }
  return x;
}

template <class Task>
void muon_update(const Task& task) {
  using P = typename Task::precision;
  using real = typename P::real;
  const MuonStep& step = task.step;
  const int64_t rows = task.rows, cols = task.cols;
  for (int64_t e = 0; e < task.count; ++e) {
    real* const p = task.p.data() + e * rows * cols;
    real* const m = task.m.data() + e * rows * cols;
    const real* const g = task.g.data() + e * rows * cols;
    Dense u(rows, cols);
    for (int64_t i = 0; i < rows * cols; ++i) {
      const double gradient = (1.0 - step.momentum) * task.grad_scale * static_cast<double>(g[i]);
      m[i] = static_cast<real>(step.momentum * m[i] + gradient);
      u.values[static_cast<size_t>(i)] = step.nesterov ? step.momentum * m[i] + gradient : m[i];
    }
    const Dense x = rows > cols ? transposed(newton_schulz<P>(transposed(u), step.iterations))
                                : newton_schulz<P>(std::move(u), step.iterations);
    const double rate = step.lr * muon_scale(rows, cols);
    for (int64_t i = 0; i < rows * cols; ++i)
      p[i] = static_cast<real>((1.0 - step.weight_decay * step.lr) * p[i] - rate * x.values[static_cast<size_t>(i)]);
  }
}

}  // namespace troupe::ref
