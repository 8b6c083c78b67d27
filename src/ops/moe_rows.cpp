#include "ops/moe_rows.h"

#include <algorithm>

#include "base/threads.h"
#include "kernels/ref/moe_rows.h"

namespace troupe {
namespace {

constexpr int64_t kRoutedRowChunk = 64;

// The same code for every processor: its cost is reading and writing rows.
template <class P>
void rows(const GatherRows<P>& task, Context&) {
  parallel_chunks(task.xe_RD.rows, kRoutedRowChunk, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r)
      std::copy_n(task.x_TD.row(task.rows.token_of_R[r]), task.x_TD.cols, task.xe_RD.row(r));
  });
}

template <class P>
void rows(const GatherRowsBackward<P>& task, Context&) {
  parallel_chunks(task.dx_TD.rows, kRoutedRowChunk, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t)
      for (const int32_t row : task.rows.rows_of(t)) {
        const auto* const source = task.dxe_RD.row(row);
        auto* const target = task.dx_TD.row(t);
        for (int64_t d = 0; d < task.dx_TD.cols; ++d) target[d] += source[d];
      }
  });
}

template <class P>
void rows(const CombineRows<P>& task, Context&) {
  using real = typename P::real;
  const int64_t D = task.out_TD.cols;
  parallel_chunks(task.out_TD.rows, kRoutedRowChunk, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      real* const out = task.out_TD.row(t);
      if (out != task.residual_TD.row(t)) std::copy_n(task.residual_TD.row(t), D, out);
      for (const int32_t row : task.rows.rows_of(t)) {
        const real* const y = task.ye_RD.row(row);
        const real weight = task.rows.weight_R[row];
        if (task.dropout.active()) {
          const int64_t element = task.rows.element_of(row);
          for (int64_t d = 0; d < D; ++d)
            out[d] += weight * (y[d] * static_cast<real>(task.dropout.scale(element, d, D)));
        } else {
          for (int64_t d = 0; d < D; ++d) out[d] += weight * y[d];
        }
      }
    }
  });
}

template <class P>
void rows(const CombineRowsBackward<P>& task, Context&) {
  using real = typename P::real;
  using operand = typename P::operand;
  const int64_t D = task.dout_TD.cols;
  parallel_chunks(task.dout_TD.rows, kRoutedRowChunk, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t)
      for (const int32_t row : task.rows.rows_of(t)) {
        const real* const dout = task.dout_TD.row(t);
        const real* const y = task.ye_RD.row(row);
        operand* const dy = task.dye_RD.row(row);
        const real weight = task.rows.weight_R[row];
        const int64_t element = task.rows.element_of(row);
        real partial[16] = {};  // fixed lanes: the sum does not depend on how the loop is vectorised
        for (int64_t d = 0; d < D; ++d) {
          const real scaled =
              task.dropout.active() ? dout[d] * static_cast<real>(task.dropout.scale(element, d, D)) : dout[d];
          dy[d] = static_cast<operand>(weight * scaled);
          partial[d % 16] += scaled * y[d];
        }
        real dot = 0;
        for (const real value : partial) dot += value;
        task.dweight_R[row] = dot;
      }
  });
}

template <class Task>
std::vector<Implementation<Task>> rows_of_list(bool in_double, void (*reference)(const Task&, Context&)) {
  if (in_double) return {{"ref", reference}};
  return {{isa_name(Isa::kGeneric), rows}, {"ref", reference}};
}

}  // namespace

template <class P>
Implementations<GatherRows<P>> GatherRows<P>::implementations() {
  static const auto list =
      rows_of_list<GatherRows>(kInDouble<P>, [](const GatherRows& task, Context&) { ref::gather_rows(task); });
  return list;
}

template <class P>
Implementations<GatherRowsBackward<P>> GatherRowsBackward<P>::implementations() {
  static const auto list = rows_of_list<GatherRowsBackward>(
      kInDouble<P>, [](const GatherRowsBackward& task, Context&) { ref::gather_rows_backward(task); });
  return list;
}

template <class P>
Implementations<CombineRows<P>> CombineRows<P>::implementations() {
  static const auto list =
      rows_of_list<CombineRows>(kInDouble<P>, [](const CombineRows& task, Context&) { ref::combine_rows(task); });
  return list;
}

template <class P>
Implementations<CombineRowsBackward<P>> CombineRowsBackward<P>::implementations() {
  static const auto list = rows_of_list<CombineRowsBackward>(
      kInDouble<P>, [](const CombineRowsBackward& task, Context&) { ref::combine_rows_backward(task); });
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

}  // namespace troupe
