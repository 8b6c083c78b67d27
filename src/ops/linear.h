// E linear maps applied to rows sorted by expert; an ordinary dense layer is E = 1.
//   y[r] = x[r] W_e^T + b_e   for rows r in [offsets[e], offsets[e + 1])
// Weights are [E, N, K] (out, in) as in checkpoints. Forward and both backward products stand side by side, with the
// neighbouring elementwise work fused into their write. Implementations: linear_list() in linear_list.h.
// Bits do not depend on the number of threads.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

#include "kernels/linear.h"  // IWYU pragma: export (ForwardEpilogue, BackwardEpilogue)
#include "tensor/matrix.h"
#include "tensor/precision.h"

namespace troupe {

template <class P>
struct LinearKernels;

// The weights of E maps, prepared for the three products in precision P. `weight` [E, N, K] and `bias` [E, N] (or
// nullptr) stay with the caller and must outlive this. In bf16, kernels of ours keep packed bf16 copies: one for the
// forward product from weights_changed(), one for the backward product from its first use after that.
template <class P>
class LinearBank {
 public:
  using real = typename P::real;

  LinearBank();
  LinearBank(int64_t num_experts, int64_t out, int64_t in, const real* weight, const real* bias);
  // With a given row of linear_list(), for tests and benchmarks.
  LinearBank(int64_t num_experts, int64_t out, int64_t in, const real* weight, const real* bias,
             const LinearKernels<P>& implementation);
  ~LinearBank();
  LinearBank(LinearBank&&) noexcept;
  LinearBank& operator=(LinearBank&&) noexcept;

  int64_t num_experts() const { return num_experts_; }
  int64_t out() const { return out_; }  // N
  int64_t in() const { return in_; }    // K
  const real* weight(int64_t expert) const { return weight_ + expert * out_ * in_; }
  const real* bias(int64_t expert) const { return bias_ ? bias_ + expert * out_ : nullptr; }
  WeightView<P> view() const { return {num_experts_, out_, in_, weight_, bias_}; }

  std::string_view implementation() const;  // the name of the row of linear_list() in use

  // To be called after the weights changed (once per optimizer step, or after loading) and before the next product.
  void weights_changed();

  struct Packed;  // the implementation in use and its copies of the weights
  Packed& packed() const { return *packed_; }

 private:
  int64_t num_experts_ = 0, out_ = 0, in_ = 0;
  const real* weight_ = nullptr;
  const real* bias_ = nullptr;
  std::unique_ptr<Packed> packed_;
};

// Row ranges per expert: E + 1 ascending offsets from 0 to the number of rows. An empty span means one map over all
// rows.
using RowOffsets = std::span<const int64_t>;

// y = f(x W^T + b), f as the epilogue says.
template <class P>
void linear_forward(const LinearBank<P>& bank, Matrix<const typename P::operand> x_RK, RowOffsets offsets,
                    const ForwardEpilogue<P>& epilogue);

// dx = dy W, stored as the epilogue says.
template <class P>
void linear_backward_input(const LinearBank<P>& bank, Matrix<const typename P::operand> dy_RN, RowOffsets offsets,
                           const BackwardEpilogue<P>& epilogue);

// dw[e] += dy^T x and db[e] += column sums of dy over the expert's rows. dw is [E, N, K], db [E, N] or nullptr.
// Sums over rows run in an order fixed by the shape alone. An expert without rows is left as it is.
template <class P>
void linear_backward_weight(const LinearBank<P>& bank, Matrix<const typename P::operand> dy_RN,
                            Matrix<const typename P::operand> x_RK, RowOffsets offsets, typename P::real* dw,
                            typename P::real* db);

extern template class LinearBank<F64>;
extern template class LinearBank<F32>;
extern template class LinearBank<Bf16>;

}  // namespace troupe
