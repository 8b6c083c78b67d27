#include "ops/moe_rows.h"

#include "kernels/moe_rows.h"
#include "kernels/ref/moe_rows.h"
#include "ops/cuda/row.h"

namespace troupe {
namespace {

template <class Task>
using MoeRowsRun = void (*)(const Task&, Context&);

// In double there is the reference alone.
template <class Task>
std::vector<Implementation<Task>> moe_rows_list(bool in_double, MoeRowsRun<Task> portable, MoeRowsRun<Task> reference) {
  if (in_double) return {{"ref", reference}};
  return {{name_of_enum(Isa::kGeneric), portable}, {"ref", reference}};
}

}  // namespace

template <class P>
Implementations<GatherRows<P>> GatherRows<P>::implementations() {
  static const auto list = with_cuda(moe_rows_list<GatherRows>(
      kInDouble<P>, [](const GatherRows& task, Context&) { host::gather_rows(task); },
      [](const GatherRows& task, Context&) { ref::gather_rows(task); }));
  return list;
}

template <class P>
Implementations<GatherRowsBackward<P>> GatherRowsBackward<P>::implementations() {
  static const auto list = with_cuda(moe_rows_list<GatherRowsBackward>(
      kInDouble<P>, [](const GatherRowsBackward& task, Context&) { host::gather_rows_backward(task); },
      [](const GatherRowsBackward& task, Context&) { ref::gather_rows_backward(task); }));
  return list;
}

template <class P>
Implementations<CombineRows<P>> CombineRows<P>::implementations() {
  static const auto list = with_cuda(moe_rows_list<CombineRows>(
      kInDouble<P>, [](const CombineRows& task, Context&) { host::combine_rows(task); },
      [](const CombineRows& task, Context&) { ref::combine_rows(task); }));
  return list;
}

template <class P>
Implementations<CombineRowsBackward<P>> CombineRowsBackward<P>::implementations() {
  static const auto list = with_cuda(moe_rows_list<CombineRowsBackward>(
      kInDouble<P>, [](const CombineRowsBackward& task, Context&) { host::combine_rows_backward(task); },
      [](const CombineRowsBackward& task, Context&) { ref::combine_rows_backward(task); }));
  return list;
}

template <class P>
Implementations<SharedRows<P>> SharedRows<P>::implementations() {
  static const auto list = with_cuda(moe_rows_list<SharedRows>(
      kInDouble<P>, [](const SharedRows& task, Context&) { host::shared_rows(task); },
      [](const SharedRows& task, Context&) { ref::shared_rows(task); }));
  return list;
}

template <class P>
Implementations<SharedRowsBackward<P>> SharedRowsBackward<P>::implementations() {
  static const auto list = with_cuda(moe_rows_list<SharedRowsBackward>(
      kInDouble<P>, [](const SharedRowsBackward& task, Context&) { host::shared_rows_backward(task); },
      [](const SharedRowsBackward& task, Context&) { ref::shared_rows_backward(task); }));
  return list;
}

template struct GatherRows<F64>;
template struct GatherRows<F32>;
template struct GatherRows<Bf16>;
template struct GatherRowsBackward<F64>;
template struct GatherRowsBackward<F32>;
template struct GatherRowsBackward<Bf16>;
template struct CombineRows<F64>;
template struct CombineRows<F32>;
template struct CombineRows<Bf16>;
template struct CombineRowsBackward<F64>;
template struct CombineRowsBackward<F32>;
template struct CombineRowsBackward<Bf16>;
template struct SharedRows<F64>;
template struct SharedRows<F32>;
template struct SharedRows<Bf16>;
template struct SharedRowsBackward<F64>;
template struct SharedRowsBackward<F32>;
template struct SharedRowsBackward<Bf16>;

}  // namespace troupe
