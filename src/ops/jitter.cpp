#include "ops/jitter.h"

#include "kernels/jitter.h"
#include "kernels/ref/jitter.h"
#include "ops/cuda/row.h"

namespace troupe {

template <class Real>
Implementations<Jitter<Real>> Jitter<Real>::implementations() {
  static const auto list = with_cuda<troupe::Jitter, Real>({
      {name_of_enum(Isa::kGeneric), [](const Jitter& task, Context&) { host::jitter(task); }},
      {"ref", [](const Jitter& task, Context&) { ref::jitter(task); }}});
  return list;
}

template struct Jitter<float>;
template struct Jitter<double>;

}  // namespace troupe
