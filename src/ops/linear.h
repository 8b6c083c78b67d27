// E linear maps applied to rows sorted by expert; an ordinary dense layer is E = 1.
//   y[r] = x[r] W_e^T + b_e   for rows r in [offsets[e], offsets[e + 1])
// Weights are [E, N, K] (out, in) as in checkpoints. Forward and both backward products stand side by side, with the
// neighbouring elementwise work fused into their write. Bits do not depend on the number of threads.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

#include "kernels/linear.h"  // IWYU pragma: export (ForwardEpilogue, BackwardEpilogue)
#include "ops/later.h"
#include "ops/op.h"
#include "tensor/buffer.h"
#include "tensor/dtype.h"
#include "tensor/matrix.h"

namespace troupe {

struct GemmKernels;

// The weights [N, K] of one map where they come from, e.g. a file. A quantised type has scales, one for every `group`
// elements of a row; so far there is float32, with none.
struct WeightSource {
  DType dtype = DType::kF32;
  std::span<const std::byte> bytes;
  std::span<const float> scales = {};
  int64_t group = 0;
};

// The weights of E maps. `weight` [E, N, K] and `bias` [E, N] (or nullptr) stay with the caller and must outlive this.
// For kernels that want their weights packed it keeps two copies, for the forward and for the backward product, each
// made by the first such product after weights_changed(): two threads must not make that one at a time.
//
// For inference a bank may do without `weight` (nullptr): pack() makes the forward copy, map by map, and the source may
// go. A type of weights is a packer in pack() and a row in the list of LinearForward.
template <class P>
class LinearBank {
 public:
  using real = typename P::real;

  LinearBank() = default;
  LinearBank(int64_t num_experts, int64_t out, int64_t in, const real* weight, const real* bias)
      : weights_{num_experts, out, in, weight, bias} {}

  // Whether the products of this process read packed copies, so that a bank can do without its weights.
  static bool can_be_packed();
  // The map `expert` of a bank without weights. Throws kInternal for a type that has no packer.
  void pack(int64_t expert, const WeightSource& source);

  int64_t num_experts() const { return weights_.num_experts; }
  int64_t out() const { return weights_.out; }  // N
  int64_t in() const { return weights_.in; }    // K
  bool has_weights() const { return weights_.weight != nullptr; }  // else only packed ones
  const real* weight(int64_t expert) const { return weights_.weight_of(expert); }
  const WeightView<P>& view() const { return weights_; }

  // Other maps from now on; the memory of packed copies stays.
  void set_weights(int64_t num_experts, int64_t out, int64_t in, const real* weight) {
    weights_ = {num_experts, out, in, weight, nullptr};
    weights_changed();
    is_padded_ = false;
  }
  // To be called after the weights changed (once per optimizer step, or after loading) and before the next product.
  void weights_changed() {
    forward_.gemm = backward_.gemm = nullptr;
    is_rounded_ = false;
  }

  // The copies that a kernel reads; nullptr if it reads the weights themselves. Throws kInternal if there are neither.
  const void* packed_forward(const GemmKernels& gemm, Context& context) const;
  const void* packed_backward(const GemmKernels& gemm, Context& context) const;
  // The weights as operands in the memory of the GPU: themselves, or a copy of them rounded there. The copy of one map
  // has rows of zeros up to a multiple of kPaddedRows after it.
  static constexpr int64_t kPaddedRows = 64;
  const typename P::operand* device_operands() const;
  // And the biases [E, N], for results in that type; nullptr if there are none.
  const typename P::operand* device_bias() const;

 private:
  struct Copy {
    const GemmKernels* gemm = nullptr;  // for which it is that of the weights of now
    Buffer<std::byte> bytes;
  };
  void require_weights(const char* product) const;

  WeightView<P> weights_;
  mutable Copy forward_, backward_;
  mutable Buffer<typename P::operand> rounded_, rounded_bias_;
  mutable bool is_rounded_ = false;  // rounded_ is that of the weights of now
  mutable bool is_padded_ = false;   // and what comes after them is 0
};

// Row ranges per expert: E + 1 ascending offsets from 0 to the number of rows; none: one map over all rows. on_device:
// the same in the memory of the GPU, where they are there already; then the host waits for them if it needs them.
class RowOffsets {
 public:
  RowOffsets() = default;
  template <std::convertible_to<std::span<const int64_t>> Offsets>
  RowOffsets(const Offsets& offsets) : here_(offsets) {}
  RowOffsets(const int64_t* offsets, size_t size) : here_(offsets, size) {}
  RowOffsets(const int64_t* there, Later<std::span<const int64_t>> here) : on_device(there), later_(std::move(here)) {}

  bool empty() const { return !later_ && here_.empty(); }
  std::span<const int64_t> here() const { return later_ ? later_() : here_; }

  const int64_t* on_device = nullptr;

 private:
  std::span<const int64_t> here_;
  Later<std::span<const int64_t>> later_;
};

// y = f(x W^T + b), f as the epilogue says.
template <class P>
struct LinearForward {
  using precision = P;
  using operand = typename P::operand;
  static constexpr std::string_view kName = "linear_forward";

  const LinearBank<P>& bank;
  Matrix<const operand> x_RK;
  RowOffsets offsets;
  ForwardEpilogue<P> epilogue;

  static Implementations<LinearForward> implementations();
};

// dx = dy W, stored as the epilogue says.
template <class P>
struct LinearBackwardInput {
  using precision = P;
  using operand = typename P::operand;
  static constexpr std::string_view kName = "linear_backward_input";

  const LinearBank<P>& bank;
  Matrix<const operand> dy_RN;
  RowOffsets offsets;
  BackwardEpilogue<P> epilogue;

  static Implementations<LinearBackwardInput> implementations();
};

// dw[e] += dy^T x and db[e] += column sums of dy over the expert's rows. Sums over rows run in an order fixed by the
// shape alone. An expert without rows is left as it is.
template <class P>
struct LinearBackwardWeight {
  using precision = P;
  using real = typename P::real;
  using operand = typename P::operand;
  static constexpr std::string_view kName = "linear_backward_weight";

  const LinearBank<P>& bank;
  Matrix<const operand> dy_RN, x_RK;
  RowOffsets offsets;
  real* dw = nullptr;  // [E, N, K], added to
  real* db = nullptr;  // [E, N], added to unless it is nullptr

  static Implementations<LinearBackwardWeight> implementations();
};

// The epilogues by themselves, of sums that are there already, made of more than one product (nn/dropped_adapters.h).
template <class P>
struct StoreForward {
  using precision = P;
  static constexpr std::string_view kName = "store_forward";

  Matrix<const typename P::real> z_RN;  // the bias is in it
  ForwardEpilogue<P> epilogue;

  static Implementations<StoreForward> implementations();
};

template <class P>
struct StoreBackwardInput {
  using precision = P;
  static constexpr std::string_view kName = "store_backward_input";

  Matrix<const typename P::real> dx_RK;
  BackwardEpilogue<P> epilogue;

  static Implementations<StoreBackwardInput> implementations();
};

}  // namespace troupe
