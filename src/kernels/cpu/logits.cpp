#include "kernels/cpu/logits.h"

#include "kernels/cpu/vec_math.h"

namespace troupe::TROUPE_ISA_NAMESPACE {

extern const LogitKernels logits_kernels;

namespace {

void soft_cap(float cap, int64_t count, float* logits) {
  for_vectors(
      count, [=, inverse = 1.0f / cap](int64_t v, int64_t n) __attribute__((always_inline)) {
        store_n(logits + v, tanh(load_n(logits + v, n) * inverse) * cap, n);
      });
}

template <class T>
void capped_gradient(const float* logits, float lse, float gain, float inverse_cap, int64_t count, T* dlogits) {
  for_vectors(
      count, [=](int64_t v, int64_t n) __attribute__((always_inline)) {
        const Vec logit = load_n(logits + v, n), share = logit * inverse_cap;
        store_n(dlogits + v, exp_nonpositive(logit - lse) * gain * (1.0f - share * share), n);
      });
}

}  // namespace

const LogitKernels logits_kernels = {soft_cap, capped_gradient<float>, capped_gradient<bf16>};

}  // namespace troupe::TROUPE_ISA_NAMESPACE
