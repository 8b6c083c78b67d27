#include "kernels/cpu/gate.h"

#include "kernels/cpu/vec_activation.h"
#include "kernels/cpu/vec_math.h"

namespace troupe::TROUPE_ISA_NAMESPACE {

extern const GateKernels gate_kernels;

namespace {

template <Activation kind, class T>
void forward_rows(const GateTask<T>& t) {
  const int64_t F = t.hidden.cols;
  for (int64_t r = 0; r < t.hidden.rows; ++r) {
    const T* a = t.z.data + r * t.z.stride;
    const T* b = a + F;
    T* hidden = t.hidden.data + r * t.hidden.stride;
    for_vectors(F, [&](int64_t f, int64_t n) {
      store_n(hidden + f, activate<kind>(load_n(a + f, n)) * load_n(b + f, n), n);
    });
  }
}

template <Activation kind, class T>
void backward_rows(const GateTask<T>& t) {
  const int64_t F = t.dhidden.cols;
  for (int64_t r = 0; r < t.dhidden.rows; ++r) {
    const T* a = t.z.data + r * t.z.stride;
    const T* b = a + F;
    const T* dhidden = t.dhidden.data + r * t.dhidden.stride;
    T* da = t.dz.data + r * t.dz.stride;
    T* db = da + F;
    for_vectors(F, [&](int64_t f, int64_t n) {
      const Vec a_n = load_n(a + f, n), dh = load_n(dhidden + f, n);
      store_n(da + f, dh * load_n(b + f, n) * derivative<kind>(a_n), n);
      store_n(db + f, dh * activate<kind>(a_n), n);
    });
  }
}

template <class T>
void forward(const GateTask<T>& t) {
  with_activation(t.activation, [&]<Activation kind>() { forward_rows<kind>(t); });
}

template <class T>
void backward(const GateTask<T>& t) {
  with_activation(t.activation, [&]<Activation kind>() { backward_rows<kind>(t); });
}

}  // namespace

const GateKernels gate_kernels = {forward<float>, forward<bf16>, backward<float>, backward<bf16>};

}  // namespace troupe::TROUPE_ISA_NAMESPACE
