#include "kernels/cpu/muon.h"

#include "kernels/cpu/vec_math.h"

namespace troupe::TROUPE_ISA_NAMESPACE {

extern const MuonKernels muon_kernels;

namespace {

void momentum(float momentum, float share, bool nesterov, const float* g, int64_t count, float* m, float* u) {
  for_vectors(
      count, [=](int64_t i, int64_t n) __attribute__((always_inline)) {
        const Vec part = load_n(g + i, n) * share;
        const Vec m_i = load_n(m + i, n) * momentum + part;
        store_n(m + i, m_i, n);
        store_n(u + i, nesterov ? m_i * momentum + part : m_i, n);
      });
}

void blend(float alpha, const float* x, float beta, const float* z, int64_t count, float* y) {
  for_vectors(
      count, [=](int64_t i, int64_t n) __attribute__((always_inline)) {
        store_n(y + i, load_n(x + i, n) * alpha + load_n(z + i, n) * beta, n);
      });
}

void round_to_operands(int64_t count, float* x, bf16* y) {
  for_vectors(
      count, [=](int64_t i, int64_t n) __attribute__((always_inline)) {
        store_n(y + i, load_n(x + i, n), n);
        store_n(x + i, load_n(y + i, n), n);
      });
}

}  // namespace

const MuonKernels muon_kernels = {momentum, blend, round_to_operands};

}  // namespace troupe::TROUPE_ISA_NAMESPACE
