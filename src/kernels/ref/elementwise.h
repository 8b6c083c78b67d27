// Small passes; tasks are those of ops/elementwise.h.
#pragma once

#include <cstdint>

#include "kernels/dropout.h"
#include "tensor/host_matrix.h"

namespace troupe::ref {

// y = dropout(x), or its derivative of dx; multiplied as `real`.
template <class real, class From, class To>
void drop_rows(const Matrix<From>& from, const Dropout& dropout, const Matrix<To>& to) {
  const HostMatrix x(from);
  const HostMatrix y(to);
  for (int64_t t = 0; t < x.rows; ++t)
    for (int64_t d = 0; d < x.cols; ++d)
      y(t, d) = static_cast<To>(static_cast<real>(x(t, d)) * static_cast<real>(dropout.scale(t, d, x.cols)));
}

// RoundedGradient (ops/rounded_gradient.h) of dx, if somebody asks.
template <class real, class Rounded>
void round_gradient(const Matrix<real>& dx, const Rounded* rounded) {
  if (rounded && rounded->dy_TD) drop_rows<real>(dx, rounded->dropout, rounded->dy_TD);
}

template <class Task>
void fill(const Task& task) {
  const HostMatrix x(task.x);
  for (int64_t i = 0; i < x.rows; ++i)
    for (int64_t j = 0; j < x.cols; ++j) x(i, j) = task.value;
}

template <class Task>
void copy(const Task& task) {
  const HostMatrix src(task.src);
  const HostMatrix dst(task.dst);
  for (int64_t i = 0; i < dst.rows; ++i)
    for (int64_t j = 0; j < dst.cols; ++j) dst(i, j) = src(i, j);
}

template <class Task>
void add(const Task& task) {
  const HostMatrix a(task.a), b(task.b);
  const HostMatrix out(task.out);
  for (int64_t i = 0; i < out.rows; ++i)
    for (int64_t j = 0; j < out.cols; ++j) out(i, j) = a(i, j) + b(i, j);
}

template <class Task>
void sum(const Task& task) {
  *task.sum = 0.0;
  for (const auto value : task.values) *task.sum += static_cast<double>(value);
}

}  // namespace troupe::ref
