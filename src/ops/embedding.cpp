#include "ops/embedding.h"

#include "base/threads.h"
#include "kernels/ref/embedding.h"
#include "kernels/ref/positions.h"
#include "kernels/table.h"
#include "ops/cuda/row.h"

namespace troupe {
namespace {

template <class P>
void vectorized(Isa level, const EmbeddingForward<P>& task, Context&) {
  parallel_chunks(task.x_TD.rows, 64, [&](int64_t begin, int64_t end) {
    kernels(level).rows.embedding_forward(task.tokens_T.data(), task.positions_T.data(), task.embed_VD,
                                          task.positions_PD, static_cast<float>(task.scale), task.dropout, begin, end,
                                          task.x_TD);
  });
}

// Every part owns the rows id % num_parts == part of the table and adds to them in token order, so neither the number
// of parts nor who runs them shows in the result; a part's scan of the ids is small against one row.
void scatter_add(Isa level, std::span<const int32_t> ids_T, int64_t skip, double scale, const Dropout& dropout,
                 Matrix<const float> dx_TD, Matrix<float> table) {
  const int64_t num_parts = num_threads() == 1 ? 1 : 8 * num_threads();
  parallel_for(num_parts, [&](int64_t part) {
    kernels(level).rows.scatter_add(ids_T.data(), skip, part, num_parts, static_cast<float>(scale), dropout, dx_TD,
                                    table);
  });
}

template <class P>
void vectorized(Isa level, const EmbeddingBackward<P>& task, Context&) {
  if (task.dembed_VD)
    scatter_add(level, task.tokens_T, task.pad_id, task.scale, task.dropout, task.dx_TD, task.dembed_VD);
  if (task.dpositions_PD)
    scatter_add(level, task.positions_T, task.pad_position, 1.0, task.dropout, task.dx_TD, task.dpositions_PD);
}

constexpr auto kEmbeddingAt = [](Isa level, const auto& task, Context& context) { vectorized(level, task, context); };

}  // namespace

template <class P>
Implementations<EmbeddingForward<P>> EmbeddingForward<P>::implementations() {
  static const auto rows = with_cuda(rows_at<EmbeddingForward>(
      VectorLevels<P>(), kEmbeddingAt, [](const auto& task) { ref::embedding_forward(task); }));
  return rows;
}

template <class P>
Implementations<EmbeddingBackward<P>> EmbeddingBackward<P>::implementations() {
  static const auto rows = with_cuda(rows_at<EmbeddingBackward>(
      VectorLevels<P>(), kEmbeddingAt, [](const auto& task) { ref::embedding_backward(task); }));
  return rows;
}

template <class Real>
Implementations<SinusoidalPositions<Real>> SinusoidalPositions<Real>::implementations() {
  static const auto list = with_cuda<troupe::SinusoidalPositions, Real>(
      {{"ref", [](const SinusoidalPositions& task, Context&) { ref::sinusoidal_positions(task); }}});
  return list;
}

template struct EmbeddingForward<F64>;
template struct EmbeddingForward<F32>;
template struct EmbeddingForward<Bf16>;
template struct EmbeddingBackward<F64>;
template struct EmbeddingBackward<F32>;
template struct EmbeddingBackward<Bf16>;
template struct SinusoidalPositions<double>;
template struct SinusoidalPositions<float>;

}  // namespace troupe
