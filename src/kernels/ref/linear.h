// Definition of the three matrix products (contracts: ops/linear.h): scalar, one thread, sums in `real`. Weights take
// part rounded to the operand type; offsets has E + 1 ascending entries.
#pragma once

#include "kernels/linear.h"
#include "kernels/ref/activation.h"
#include "tensor/host_matrix.h"

namespace troupe::ref {

template <class P>
typename P::real as_operand(typename P::real value) {
  return static_cast<typename P::real>(static_cast<typename P::operand>(value));
}

// What becomes of z, column n of row r of `width`.
template <class P>
void store(const ForwardEpilogue<P>& epilogue, int64_t r, int64_t n, int64_t width, typename P::real z) {
  using real = typename P::real;
  using operand = typename P::operand;
  if (epilogue.pre_activation) HostMatrix(epilogue.pre_activation)(r, n) = static_cast<operand>(z);
  real y = activate(epilogue.activation, z);
  y *= static_cast<real>(epilogue.dropout.scale(r, n, width));
  if (epilogue.residual) y += HostMatrix(epilogue.residual)(r, n);
  if (epilogue.out_operand) HostMatrix(epilogue.out_operand)(r, n) = static_cast<operand>(y);
  if (epilogue.out_real) HostMatrix(epilogue.out_real)(r, n) = y;
}

template <class P>
void store(const BackwardEpilogue<P>& epilogue, int64_t r, int64_t k, typename P::real dx) {
  using real = typename P::real;
  if (epilogue.activation != Activation::kNone)
    dx *= activation_derivative(epilogue.activation, static_cast<real>(HostMatrix(epilogue.pre_activation)(r, k)));
  if (epilogue.out_operand) HostMatrix(epilogue.out_operand)(r, k) = static_cast<typename P::operand>(dx);
  if (epilogue.out_real) HostMatrix(epilogue.out_real)(r, k) = dx;
}

template <class Task>
void store_forward(const Task& task) {
  const HostMatrix z(task.z_RN);
  for (int64_t r = 0; r < z.rows; ++r)
    for (int64_t n = 0; n < z.cols; ++n) store(task.epilogue, r, n, z.cols, z(r, n));
}

template <class Task>
void store_backward_input(const Task& task) {
  const HostMatrix dx(task.dx_RK);
  for (int64_t r = 0; r < dx.rows; ++r)
    for (int64_t k = 0; k < dx.cols; ++k) store(task.epilogue, r, k, dx(r, k));
}

template <class P>
void linear_forward(const WeightView<P>& bank, HostMatrix<const typename P::operand> x_RK, const int64_t* offsets,
                    const ForwardEpilogue<P>& epilogue) {
  using real = typename P::real;
  for (int64_t e = 0; e < bank.num_experts; ++e)
    for (int64_t r = offsets[e]; r < offsets[e + 1]; ++r)
      for (int64_t n = 0; n < bank.out; ++n) {
        const real* w = bank.weight_of(e) + n * bank.in;
        real z = 0;
        for (int64_t k = 0; k < bank.in; ++k) z += static_cast<real>(x_RK(r, k)) * as_operand<P>(w[k]);
        if (bank.bias) z += bank.bias_of(e)[n];
        store(epilogue, r, n, bank.out, z);
      }
}

template <class P>
void linear_backward_input(const WeightView<P>& bank, HostMatrix<const typename P::operand> dy_RN,
                           const int64_t* offsets, const BackwardEpilogue<P>& epilogue) {
  using real = typename P::real;
  for (int64_t e = 0; e < bank.num_experts; ++e)
    for (int64_t r = offsets[e]; r < offsets[e + 1]; ++r)
      for (int64_t k = 0; k < bank.in; ++k) {
        const real* w = bank.weight_of(e) + k;
        real dx = 0;
        for (int64_t n = 0; n < bank.out; ++n) dx += static_cast<real>(dy_RN(r, n)) * as_operand<P>(w[n * bank.in]);
        store(epilogue, r, k, dx);
      }
}

template <class P>
void linear_backward_weight(const WeightView<P>& bank, HostMatrix<const typename P::operand> dy_RN,
                            HostMatrix<const typename P::operand> x_RK, const int64_t* offsets, typename P::real* dw,
                            typename P::real* db) {
  using real = typename P::real;
  for (int64_t e = 0; e < bank.num_experts; ++e)
    for (int64_t n = 0; n < bank.out; ++n) {
      real* dw_n = dw + (e * bank.out + n) * bank.in;
      for (int64_t k = 0; k < bank.in; ++k) {
        real sum = 0;
        for (int64_t r = offsets[e]; r < offsets[e + 1]; ++r)
          sum += static_cast<real>(dy_RN(r, n)) * static_cast<real>(x_RK(r, k));
        dw_n[k] += sum;
      }
      if (!db) continue;
      real sum = 0;
      for (int64_t r = offsets[e]; r < offsets[e + 1]; ++r) sum += static_cast<real>(dy_RN(r, n));
      db[e * bank.out + n] += sum;
    }
}

}  // namespace troupe::ref
