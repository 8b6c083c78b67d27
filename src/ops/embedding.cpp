#include "ops/embedding.h"

#include <cmath>
#include <vector>

#include "base/threads.h"
#include "kernels/ref/embedding.h"
#include "kernels/table.h"

namespace troupe {
namespace {

template <Isa level, class P>
void vectorized(const EmbeddingForward<P>& task, Context&) {
  parallel_chunks(task.x_TD.rows, 64, [&](int64_t begin, int64_t end) {
    kernels(level).rows.embedding_forward(task.tokens_T.data(), task.positions_T.data(), task.embed_VD,
                                          task.positions_PD, static_cast<float>(task.scale), task.dropout, begin, end,
                                          task.x_TD);
  });
}

// Every part owns the rows id % num_parts == part of the table and adds to them in token order, so neither the number
// of parts nor who runs them shows in the result; a part's scan of the ids is small against one row.
template <Isa level>
void scatter_add(std::span<const int32_t> ids_T, int64_t skip, double scale, const Dropout& dropout,
                 Matrix<const float> dx_TD, Matrix<float> table) {
  const int64_t num_parts = num_threads() == 1 ? 1 : 8 * num_threads();
  parallel_for(num_parts, [&](int64_t part) {
    kernels(level).rows.scatter_add(ids_T.data(), skip, part, num_parts, static_cast<float>(scale), dropout, dx_TD,
                                    table);
  });
}

template <Isa level, class P>
void vectorized(const EmbeddingBackward<P>& task, Context&) {
  if (task.dembed_VD)
    scatter_add<level>(task.tokens_T, task.pad_id, task.scale, task.dropout, task.dx_TD, task.dembed_VD);
  if (task.dpositions_PD)
    scatter_add<level>(task.positions_T, task.pad_position, 1.0, task.dropout, task.dx_TD, task.dpositions_PD);
}

constexpr auto kEmbeddingAt = []<Isa level>(const auto& task, Context& context) { vectorized<level>(task, context); };

// torch.exp on float32 tensors, bit for bit where the result is a normal number: the scheme of SLEEF's expf_u10
// (Shibata and Petrogalli 2020): x = q ln 2 + s with ln 2 in two parts, a polynomial of degree 7 in s, every step one
// fma.
float torch_exp(float x) {
  const float q = std::rint(x * 1.442695040888963407f);
  float s = std::fma(q, -0.693145751953125f, x);
  s = std::fma(q, -1.428606765330187045e-06f, s);
  float u = 0.000198527617612853646278381f;
  for (const float coefficient : {0.00139304355252534151077271f, 0.00833336077630519866943359f,
                                  0.0416664853692054748535156f, 0.166666671633720397949219f, 0.5f})
    u = std::fma(u, s, coefficient);
  return std::ldexp(1.0f + std::fma(s * s, u, s), static_cast<int>(q));
}

}  // namespace

template <class P>
Implementations<EmbeddingForward<P>> EmbeddingForward<P>::implementations() {
  static const auto rows =
      rows_at<EmbeddingForward>(VectorLevels<P>(), kEmbeddingAt, [](const auto& task) { ref::embedding_forward(task); });
  return rows;
}

template <class P>
Implementations<EmbeddingBackward<P>> EmbeddingBackward<P>::implementations() {
  static const auto rows = rows_at<EmbeddingBackward>(VectorLevels<P>(), kEmbeddingAt,
                                                      [](const auto& task) { ref::embedding_backward(task); });
  return rows;
}

template struct EmbeddingForward<F64>;
template struct EmbeddingForward<F32>;
template struct EmbeddingForward<Bf16>;
template struct EmbeddingBackward<F64>;
template struct EmbeddingBackward<F32>;
template struct EmbeddingBackward<Bf16>;

// Every operation is rounded to float32 where fairseq's tensors round: c, k * -c, exp, p * w, sin, cos. At position p
// one unit in the last place of w_k moves the angle by p of them, so exp must have the bits of torch's; sin and cos
// need not, and are rounded from double.
void sinusoidal_positions(Matrix<float> table_PD) {
  const int64_t half = table_PD.cols / 2;
  const float c = static_cast<float>(std::log(10000.0) / static_cast<double>(half - 1));
  std::vector<float> w(static_cast<size_t>(half), 1.0f);
  for (int64_t k = 1; k < half; ++k) w[k] = torch_exp(static_cast<float>(k) * -c);
  for (int64_t p = 0; p < table_PD.rows; ++p) {
    float* row = table_PD.row(p);
    for (int64_t k = 0; k < half; ++k) {
      const double angle = static_cast<float>(p) * w[k];
      row[k] = p == 1 ? 0.0f : static_cast<float>(std::sin(angle));
      row[half + k] = p == 1 ? 0.0f : static_cast<float>(std::cos(angle));
    }
    if (table_PD.cols % 2 != 0) row[table_PD.cols - 1] = 0.0f;
  }
}

}  // namespace troupe
