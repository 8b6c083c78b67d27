#include "ops/elementwise.h"

#include "base/threads.h"
#include "kernels/ref/elementwise.h"
#include "kernels/table.h"

namespace troupe {
namespace {

template <Isa level, class P>
void vectorized(const DropoutBackward<P>& task, Context&) {
  parallel_chunks(task.dx.rows, 64, [&](int64_t begin, int64_t end) {
    if constexpr (std::is_same_v<P, F32>)
      kernels(level).rows.dropout_f32(task.dx, task.dropout, begin, end, task.dy);
    else
      kernels(level).rows.dropout_bf16(task.dx, task.dropout, begin, end, task.dy);
  });
}

constexpr auto kVectorized = []<Isa level>(const auto& task, Context& context) { vectorized<level>(task, context); };

}  // namespace

template <class P>
Implementations<DropoutBackward<P>> DropoutBackward<P>::implementations() {
  static const auto rows =
      rows_at<DropoutBackward>(VectorLevels<P>(), kVectorized, [](const auto& task) { ref::dropout_backward(task); });
  return rows;
}

template struct DropoutBackward<F64>;
template struct DropoutBackward<F32>;
template struct DropoutBackward<Bf16>;

}  // namespace troupe
