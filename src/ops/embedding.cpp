#include "ops/embedding.h"

#include <array>
#include <cmath>
#include <vector>

#include "base/threads.h"
#include "kernels/ref/embedding.h"
#include "kernels/table.h"
#include "ops/implementations.h"

namespace troupe {
namespace {

template <Isa level>
void forward(std::span<const int32_t> tokens_T, std::span<const int32_t> positions_T, Matrix<const float> embed_VD,
             Matrix<const float> positions_PD, double scale, const Dropout& dropout, Matrix<float> x_TD) {
  parallel_chunks(x_TD.rows, 64, [&](int64_t begin, int64_t end) {
    kernels(level).rows.embedding_forward(tokens_T.data(), positions_T.data(), embed_VD, positions_PD,
                                          static_cast<float>(scale), dropout, begin, end, x_TD);
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

template <Isa level>
void backward(std::span<const int32_t> tokens_T, std::span<const int32_t> positions_T, int64_t pad_id, double scale,
              const Dropout& dropout, Matrix<const float> dx_TD, Matrix<float> dembed_VD, Matrix<float> dpositions_PD) {
  if (dembed_VD) scatter_add<level>(tokens_T, pad_id, scale, dropout, dx_TD, dembed_VD);
  if (dpositions_PD) scatter_add<level>(positions_T, 1, 1.0, dropout, dx_TD, dpositions_PD);
}

template <class P, Isa level>
constexpr EmbeddingKernels<P> vectorized(std::string_view name) {
  return {name, refuses_below<level>, forward<level>, backward<level>};
}

template <class P>
constexpr EmbeddingKernels<P> kReference = {"ref", never_refuses, ref::embedding_forward<P>,
                                            ref::embedding_backward<P>};

template <class P>
constexpr std::array kEmbedding = {vectorized<P, Isa::kAvx512>("avx512"), vectorized<P, Isa::kAvx2>("avx2"),
                                   vectorized<P, Isa::kGeneric>("generic"), kReference<P>};
template <>
constexpr std::array kEmbedding<F64> = {kReference<F64>};

template <class P>
const EmbeddingKernels<P>& chosen() {
  static const EmbeddingKernels<P>& kernels = choose("embedding", embedding_list<P>());
  return kernels;
}

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
std::span<const EmbeddingKernels<P>> embedding_list() {
  return kEmbedding<P>;
}

template <class P>
void embedding_forward(std::span<const int32_t> tokens_T, std::span<const int32_t> positions_T,
                       Matrix<const typename P::real> embed_VD, Matrix<const typename P::real> positions_PD,
                       double scale, const Dropout& dropout, Matrix<typename P::real> x_TD) {
  chosen<P>().forward(tokens_T, positions_T, embed_VD, positions_PD, scale, dropout, x_TD);
}

template <class P>
void embedding_backward(std::span<const int32_t> tokens_T, std::span<const int32_t> positions_T, int64_t pad_id,
                        double scale, const Dropout& dropout, Matrix<const typename P::real> dx_TD,
                        Matrix<typename P::real> dembed_VD, Matrix<typename P::real> dpositions_PD) {
  chosen<P>().backward(tokens_T, positions_T, pad_id, scale, dropout, dx_TD, dembed_VD, dpositions_PD);
}

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

#define TROUPE_INSTANTIATE(P)                                                                                   \
  template std::span<const EmbeddingKernels<P>> embedding_list<P>();                                            \
  template void embedding_forward<P>(std::span<const int32_t>, std::span<const int32_t>, Matrix<const P::real>, \
                                     Matrix<const P::real>, double, const Dropout&, Matrix<P::real>);           \
  template void embedding_backward<P>(std::span<const int32_t>, std::span<const int32_t>, int64_t, double,      \
                                      const Dropout&, Matrix<const P::real>, Matrix<P::real>, Matrix<P::real>);
TROUPE_INSTANTIATE(F64)
TROUPE_INSTANTIATE(F32)
TROUPE_INSTANTIATE(Bf16)
#undef TROUPE_INSTANTIATE

}  // namespace troupe
