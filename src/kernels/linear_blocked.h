// The three matrix products of a linear layer, cut into blocks for a GemmKernels: which block is packed when, which
// thread computes it, and what is done with the result while it is in cache.
//
// All experts share one parallel region; tasks are blocks of the output, taken by whichever thread is free, so uneven
// loads balance. Every output element is computed whole by one task, over k in order: no reduction across threads.
// Weights are used from a packed copy where the kernel asks for one (GemmKernels::prepack), else packed block by block.
// P is F32 or Bf16.
#pragma once

#include <cstdint>

#include "kernels/context.h"
#include "kernels/cpu/epilogue.h"
#include "kernels/cpu/gemm.h"
#include "kernels/linear.h"

namespace troupe {

// A GemmKernels, the epilogues to go with it, where workspace comes from, and packed copies of the weights (nullptr:
// packed on the fly).
struct BlockedLinear {
  const GemmKernels& gemm;
  const EpilogueKernels& epilogue;
  Context& context;
  const void* forward_weights = nullptr;
  const void* backward_weights = nullptr;
};

// Bytes of one packed copy of a bank, and the two copies: for x W^T and for dy W.
template <class P>
int64_t packed_forward_bytes(const GemmKernels& gemm, const WeightView<P>& bank);
template <class P>
int64_t packed_backward_bytes(const GemmKernels& gemm, const WeightView<P>& bank);
template <class P>
void pack_forward_weights(const GemmKernels& gemm, const WeightView<P>& bank, void* packed, Context& context);
template <class P>
void pack_backward_weights(const GemmKernels& gemm, const WeightView<P>& bank, void* packed, Context& context);

// Contracts: ops/linear.h; offsets has E + 1 ascending entries.
template <class P>
void blocked_forward(const BlockedLinear& how, const WeightView<P>& bank, Matrix<const typename P::operand> x_RK,
                     const int64_t* offsets, const ForwardEpilogue<P>& epilogue);
template <class P>
void blocked_backward_input(const BlockedLinear& how, const WeightView<P>& bank,
                            Matrix<const typename P::operand> dy_RN, const int64_t* offsets,
                            const BackwardEpilogue<P>& epilogue);
template <class P>
void blocked_backward_weight(const BlockedLinear& how, const WeightView<P>& bank,
                             Matrix<const typename P::operand> dy_RN, Matrix<const typename P::operand> x_RK,
                             const int64_t* offsets, float* dw, float* db);

}  // namespace troupe
