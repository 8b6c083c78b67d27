// What the products of every library on the device share.
#pragma once

#include "kernels/context.h"
#include "kernels/cuda/layer_norm.h"
#include "kernels/cuda/linear.h"
#include "kernels/cuda/machine.h"
#include "ops/linear.h"

namespace troupe {

// Rows per expert where kernels read them: copied there if they are not yet and experts have not as many each.
class DeviceOffsets {
  Context::Lease lease_;

 public:
  DeviceOffsets(const RowOffsets& offsets, int64_t num_experts, int64_t rows, Context& context);
  const cuda::RowTiles tiles;
};

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

// db += column sums of dy, expert by expert.
template <class operand>
void add_bias_gradient(Matrix<const operand> dy_RN, const cuda::RowTiles& tiles, float* db, Context& context) {
  if (tiles.num_experts > 1) return cuda::launch(cuda::BiasGradientKernel<operand>{cuda::view(dy_RN), tiles, db});
  cuda::BiasPartsKernel<operand> parts{cuda::view(dy_RN), nullptr};
  const int64_t N = dy_RN.cols;
  const Context::Lease lease(context, parts.chunks() * N * static_cast<int64_t>(sizeof(float)));
  parts.parts = lease.as<float>();
  cuda::launch(parts);
  cuda::launch(cuda::AddPartsKernel{parts.parts, parts.chunks(), N, N, db, nullptr});
}

}  // namespace troupe
