#include "ops/adam.h"

#include <array>
#include <cmath>

#include "kernels/ref/adam.h"
#include "ops/implementations.h"

namespace troupe {
namespace {

template <class real>
constexpr std::array kAdam = {
    AdamKernels<real>{"ref", never_refuses, ref::adam_update<real>, ref::sum_of_squares<real>},
};

template <class real>
const AdamKernels<real>& chosen() {
  static const AdamKernels<real>& kernels = choose("adam", adam_list<real>());
  return kernels;
}

}  // namespace

template <class real>
std::span<const AdamKernels<real>> adam_list() {
  return kAdam<real>;
}

template <class real>
void adam_update(std::span<real> p, std::span<const real> g, std::span<real> m, std::span<real> v, const AdamStep& step,
                 double grad_scale) {
  chosen<real>().update(p, g, m, v, step, grad_scale);
}

template <class real>
double sum_of_squares(std::span<const real> values) {
  return chosen<real>().sum_of_squares(values);
}

template <class real>
int64_t find_non_finite(std::span<const real> values) {
  for (size_t i = 0; i < values.size(); ++i)
    if (!std::isfinite(values[i])) return static_cast<int64_t>(i);
  return -1;
}

#define TROUPE_INSTANTIATE(real)                                                                            \
  template std::span<const AdamKernels<real>> adam_list<real>();                                            \
  template void adam_update<real>(std::span<real>, std::span<const real>, std::span<real>, std::span<real>, \
                                  const AdamStep&, double);                                                 \
  template double sum_of_squares<real>(std::span<const real>);                                              \
  template int64_t find_non_finite<real>(std::span<const real>);
TROUPE_INSTANTIATE(double)
TROUPE_INSTANTIATE(float)
#undef TROUPE_INSTANTIATE

}  // namespace troupe
