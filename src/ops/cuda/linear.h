// What the products of every library on the device share.
#pragma once

#include "kernels/context.h"
#include "kernels/cuda/linear.h"
#include "ops/linear.h"

namespace troupe {

// Rows per expert where kernels read them; those of one map over all rows if the caller has none.
class DeviceOffsets {
  Context::Lease lease_;

 public:
  DeviceOffsets(RowOffsets offsets, int64_t num_experts, int64_t rows, Context& context);
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

}  // namespace troupe
