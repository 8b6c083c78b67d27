#include "kernels/onednn/gemm.h"

#include <fmt/core.h>

#include <dnnl.hpp>

#include "base/isa.h"
#include "tensor/bf16.h"

namespace troupe::onednn {
namespace {

// A [count, depth] as it lies; B [depth, count].
template <class Source, class Rounded>
void pack_along(const void* source, int64_t stride, int64_t count, int64_t depth, void* packed) {
  const auto* from = static_cast<const Source*>(source);
  auto* to = static_cast<float*>(packed);
  for (int64_t i = 0; i < count; ++i)
    for (int64_t k = 0; k < depth; ++k) to[i * depth + k] = static_cast<float>(Rounded(from[i * stride + k]));
}
template <class Source, class Rounded>
void pack_across(const void* source, int64_t stride, int64_t count, int64_t depth, void* packed) {
  const auto* from = static_cast<const Source*>(source);
  auto* to = static_cast<float*>(packed);
  constexpr int64_t kTile = 16;  // transposed by tiles, so that both sides stay in cache
  for (int64_t i0 = 0; i0 < count; i0 += kTile)
    for (int64_t k = 0; k < depth; ++k)
      for (int64_t i = i0; i < count && i < i0 + kTile; ++i)
        to[i * depth + k] = static_cast<float>(Rounded(from[k * stride + i]));
}

// Both operands are packed with the vector along k, so B is used transposed.
void multiply(int64_t m, int64_t n, int64_t k, const void* a, const void* b, float* c, int64_t ldc, bool add) {
  if (k == 0) {
    for (int64_t i = 0; i < m && !add; ++i)
      for (int64_t j = 0; j < n; ++j) c[i * ldc + j] = 0.0f;
    return;
  }
  dnnl_sgemm('N', 'T', m, n, k, 1.0f, static_cast<const float*>(a), k, static_cast<const float*>(b), k,
             add ? 1.0f : 0.0f, c, ldc);
}

template <class Operand>
constexpr GemmKernels make(const char* name) {
  return {.name = name,
          .row_block = 384,
          .col_block = 1536,
          .k_block = 768,
          .deep_rows = 384,
          .deep_cols = 1536,
          .gradient_rows = 384,
          .gradient_cols = 768,
          .gradient_depth = 1536,
          .row_step = 1,
          .col_step = 1,
          .k_step = 1,
          .packed_bytes = sizeof(float),
          .free_cut = false,
          .prepack = false,
          .workspace_pad = -1,
          .pack_a_rows = pack_along<Operand, Operand>,
          .pack_a_cols = pack_across<Operand, Operand>,
          .pack_b_cols = pack_across<Operand, Operand>,
          .pack_weight_rows = pack_along<float, Operand>,
          .pack_weight_cols = pack_across<float, Operand>,
          .multiply = multiply};
}

// The cap of TROUPE_ISA holds for oneDNN too; it takes effect once, before the first product.
bool cap_isa() {
  static const bool done = [] {
    switch (active_isa()) {
      case Isa::kGeneric:
        dnnl::set_max_cpu_isa(dnnl::cpu_isa::sse41);
        break;
      case Isa::kAvx2:
        dnnl::set_max_cpu_isa(dnnl::cpu_isa::avx2);
        break;
      case Isa::kAvx512:
        dnnl::set_max_cpu_isa(dnnl::cpu_isa::avx512_core);
        break;
      case Isa::kAvx512Bf16:
        dnnl::set_max_cpu_isa(dnnl::cpu_isa::avx512_core_bf16);
        break;
      case Isa::kAmx:
        break;
    }
    return true;
  }();
  return done;
}

}  // namespace

const char* unavailable_reason() { return cap_isa() ? nullptr : ""; }

std::string version() {
  const dnnl_version_t* version = dnnl_version();
  return fmt::format("{}.{}.{}", version->major, version->minor, version->patch);
}

const GemmKernels& gemm_f32() {
  static constexpr GemmKernels kernels = make<float>("onednn");
  return kernels;
}

const GemmKernels& gemm_bf16() {
  static constexpr GemmKernels kernels = make<bf16>("onednn");
  return kernels;
}

}  // namespace troupe::onednn
