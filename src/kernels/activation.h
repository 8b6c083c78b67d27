// What a product does to its result on the way to memory, beside bias, dropout and residual; and the activation of a
// gated feed-forward network, which is a pass of its own (ops/gate.h).
#pragma once

namespace troupe {

// Formulas: kernels/ref/activation.h.
enum class Activation { kNone, kGeluErf, kGeluTanh, kRelu, kSilu, kRelu2 };

}  // namespace troupe
