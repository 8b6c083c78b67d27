#include "kernels/cpu/functions.h"

#include "kernels/cpu/vec_math.h"

namespace troupe::TROUPE_ISA_NAMESPACE {

extern const FunctionKernels functions_kernels;

namespace {

template <class Function>
TROUPE_INLINE void apply(const float* x, int64_t count, float* y, const Function& function) {
  for_vectors(count, [&](int64_t i, int64_t n) { store_n(y + i, function(load_n(x + i, n)), n); });
}

#define TROUPE_FUNCTION(name)                                  \
  void name##_array(const float* x, int64_t count, float* y) { \
    apply(x, count, y, [](Vec value) { return name(value); }); \
  }
TROUPE_FUNCTION(exp)
TROUPE_FUNCTION(exp_nonpositive)
TROUPE_FUNCTION(exp2_nonpositive)
TROUPE_FUNCTION(normal_cdf)
TROUPE_FUNCTION(tanh)
TROUPE_FUNCTION(log)
#undef TROUPE_FUNCTION

}  // namespace

const FunctionKernels functions_kernels = {
    exp_array, exp_nonpositive_array, exp2_nonpositive_array, normal_cdf_array, tanh_array, log_array};

}  // namespace troupe::TROUPE_ISA_NAMESPACE
