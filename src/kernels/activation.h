// What a product does to its result on the way to memory, beside bias, dropout and residual.
#pragma once

namespace troupe {

// Formulas: kernels/ref/gelu.h.
enum class Activation { kNone, kGeluErf, kGeluTanh };

}  // namespace troupe
