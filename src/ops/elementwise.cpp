#include "ops/elementwise.h"

#include "base/threads.h"
#include "kernels/elementwise.h"
#include "kernels/ref/elementwise.h"
#include "kernels/table.h"
#include "ops/cuda/row.h"
#include "ops/dropout_rows.h"

namespace troupe {
namespace {

template <class P>
void vectorized(Isa level, const DropoutBackward<P>& task, Context&) {
  parallel_chunks(task.dx.rows, 64, [&](int64_t begin, int64_t end) {
    drop_rows_at<P>(level, task.dx, task.dropout, begin, end, task.dy);
  });
}

template <class P>
void vectorized(Isa level, const DropRows<P>& task, Context&) {
  parallel_chunks(task.x.rows, 64, [&](int64_t begin, int64_t end) {
    if constexpr (std::is_same_v<P, F32>)
      kernels(level).rows.dropout_f32(task.x, task.dropout, begin, end, task.y);
    else
      kernels(level).rows.drop_bf16(task.x, task.dropout, begin, end, task.y);
  });
}

constexpr auto kDropoutAt = [](Isa level, const auto& task, Context& context) { vectorized(level, task, context); };

}  // namespace

template <class P>
Implementations<DropoutBackward<P>> DropoutBackward<P>::implementations() {
  static const auto rows = with_cuda(rows_at<DropoutBackward>(
      VectorLevels<P>(), kDropoutAt, [](const auto& task) {
        ref::drop_rows<typename P::real>(task.dx, task.dropout, task.dy);
      }));
  return rows;
}

template <class P>
Implementations<DropRows<P>> DropRows<P>::implementations() {
  static const auto rows =
      with_cuda(rows_at<DropRows>(VectorLevels<P>(), kDropoutAt, [](const auto& task) {
        ref::drop_rows<typename P::real>(task.x, task.dropout, task.y);
      }));
  return rows;
}

template <class T>
Implementations<Fill<T>> Fill<T>::implementations() {
  static const auto list =
      with_cuda<troupe::Fill, T>({{name_of_enum(Isa::kGeneric), [](const Fill& task, Context&) { host::fill(task); }},
                                  {"ref", [](const Fill& task, Context&) { ref::fill(task); }}});
  return list;
}

template <class T>
Implementations<Copy<T>> Copy<T>::implementations() {
  static const auto list =
      with_cuda<troupe::Copy, T>({{name_of_enum(Isa::kGeneric), [](const Copy& task, Context&) { host::copy(task); }},
                                  {"ref", [](const Copy& task, Context&) { ref::copy(task); }}});
  return list;
}

template <class Real>
Implementations<Add<Real>> Add<Real>::implementations() {
  static const auto list =
      with_cuda<troupe::Add, Real>({{name_of_enum(Isa::kGeneric), [](const Add& task, Context&) { host::add(task); }},
                                    {"ref", [](const Add& task, Context&) { ref::add(task); }}});
  return list;
}

template <class Real>
Implementations<Sum<Real>> Sum<Real>::implementations() {
  static const auto list =
      with_cuda<troupe::Sum, Real>({{"ref", [](const Sum& task, Context&) { ref::sum(task); }}});
  return list;
}

template struct Fill<double>;
template struct Fill<float>;
template struct Fill<bf16>;
template struct Copy<double>;
template struct Copy<float>;
template struct Copy<bf16>;
template struct Copy<int32_t>;
template struct Copy<uint8_t>;
template struct Add<double>;
template struct Add<float>;
template struct Sum<double>;
template struct Sum<float>;
template struct DropoutBackward<F64>;
template struct DropoutBackward<F32>;
template struct DropoutBackward<Bf16>;
template struct DropRows<F64>;
template struct DropRows<F32>;
template struct DropRows<Bf16>;

}  // namespace troupe
