// Blocked attention over heads and sequences in parallel (kernels/cpu/attention.h does one head). Bits do not depend on
// the number of threads: a query block, or in the backward pass a head, is computed by one thread in a fixed order.
#pragma once

#include <cstdint>
#include <span>

#include "kernels/attention_shape.h"
#include "kernels/context.h"
#include "kernels/cpu/attention.h"
#include "tensor/matrix.h"
#include "tensor/precision.h"

namespace troupe {

// P is F32 or Bf16. Meaning: ops/attention.h.
template <class P>
void blocked_attention_forward(const AttentionBlocks& blocks, const AttentionShape& shape,
                               const QueryKeyValue<const typename P::operand>& in, Matrix<typename P::operand> ctx_THC,
                               std::span<float> lse_BHS, Context& context);

template <class P>
void blocked_attention_backward(const AttentionBlocks& blocks, const AttentionShape& shape,
                                const QueryKeyValue<const typename P::operand>& in,
                                Matrix<const typename P::operand> ctx_THC, std::span<const float> lse_BHS,
                                Matrix<const typename P::operand> dctx_THC,
                                const QueryKeyValue<typename P::operand>& gradient, Context& context);

template <class P>
void blocked_attention_decode(const AttentionBlocks& blocks, const AttentionHeads& heads,
                              std::span<const DecodeSequence<P>> sequences, Context& context);

}  // namespace troupe
