// What the products of every library on the device share.
#pragma once

#include "kernels/context.h"
#include "kernels/cuda/bias.h"
#include "kernels/cuda/linear.h"
#include "kernels/cuda/machine.h"
#include "ops/cuda/row.h"
#include "ops/linear.h"

namespace troupe {

// Rows per expert where kernels read them: copied there if they are not yet and experts have not as many each.
class DeviceOffsets {
  Context::Lease lease_;

 public:
  DeviceOffsets(const RowOffsets& offsets, int64_t num_experts, int64_t rows, Context& context);
  const cuda::RowTiles tiles;
};

// Whether it is not set, or begins where libraries want it.
template <class T>
bool aligned(const Matrix<T>& matrix) {
  return !matrix || rows_aligned(matrix);
}

template <class P>
cuda::ForwardStore<typename P::operand> device_store(const ForwardEpilogue<P>& epilogue) {
  return {cuda::view(epilogue.out_operand),    cuda::view(epilogue.out_real), epilogue.activation,
          cuda::view(epilogue.pre_activation), cuda::view(epilogue.residual), epilogue.dropout};
}

template <class P>
cuda::BackwardStore<typename P::operand> device_store(const BackwardEpilogue<P>& epilogue) {
  return {cuda::view(epilogue.out_operand), cuda::view(epilogue.out_real), epilogue.activation,
          cuda::view(epilogue.pre_activation)};
}

// `kernel`, which leaves column sums of N columns by tiles of rows in its `parts`, and these in db, expert by expert.
template <class Kernel>
void sum_tiles(Kernel kernel, int64_t N, float* db, Context& context) {
  const int64_t count = kernel.tiles.most_tiles(Kernel::kHigh) * N;
  const Context::Lease lease(context, count * static_cast<int64_t>(sizeof(float)));
  kernel.parts = lease.as<float>();
  cuda::launch(kernel);
  cuda::launch(cuda::AddTilePartsKernel{kernel.parts, kernel.tiles, Kernel::kHigh, N, db});
}

// Whether the result is sums and their bias: stores_sums(); or an activation (times its derivative) of them alone:
// rounds_sums(). That is one pass for all experts, activate_sums() or derive_sums(), over sums that a library left
// rounded in rounded_sums() or, in the backward pass, where the result goes.
template <class P>
bool stores_sums(const ForwardEpilogue<P>& epilogue) {
  const bool scales = epilogue.dropout.active() || epilogue.dropout.multiplier != 1.0f;
  return epilogue.activation == Activation::kNone && !epilogue.pre_activation && !epilogue.residual && !scales;
}
template <class P>
bool stores_sums(const BackwardEpilogue<P>& epilogue) {
  return epilogue.activation == Activation::kNone;
}
template <class P>
bool rounds_sums(const ForwardEpilogue<P>& epilogue) {
  const bool scales = epilogue.dropout.active() || epilogue.dropout.multiplier != 1.0f;
  return std::is_same_v<P, Bf16> && epilogue.activation != Activation::kNone && epilogue.out_operand &&
         !epilogue.residual && !scales;
}
template <class P>
bool rounds_sums(const BackwardEpilogue<P>& epilogue) {
  return std::is_same_v<P, Bf16> && epilogue.activation != Activation::kNone && epilogue.out_operand;
}
inline Matrix<bf16> rounded_sums(const ForwardEpilogue<Bf16>& epilogue) {
  return epilogue.pre_activation ? epilogue.pre_activation : epilogue.out_operand;
}
void activate_sums(const ForwardEpilogue<Bf16>& epilogue);
// And the gradient of a bias, if it is asked for.
void derive_sums(const LinearBackwardInput<Bf16>& task, Context& context);

// db += column sums of dy, expert by expert.
template <class operand>
void add_bias_gradient(Matrix<const operand> dy_RN, const cuda::RowTiles& tiles, float* db, Context& context) {
  sum_tiles(cuda::BiasPartsKernel<operand>{cuda::view(dy_RN), tiles, nullptr}, dy_RN.cols, db, context);
}

}  // namespace troupe
