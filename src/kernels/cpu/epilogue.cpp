#include "kernels/cpu/epilogue.h"

#include "kernels/cpu/vec_activation.h"
#include "kernels/cpu/vec_dropout.h"
#include "kernels/cpu/vec_math.h"

namespace troupe::TROUPE_ISA_NAMESPACE {
namespace {

// p, or nullptr where the matrix is not set.
template <class T>
TROUPE_INLINE T* at(const Matrix<T>& matrix, int64_t row, int64_t col) {
  return matrix.data ? matrix.data + row * matrix.stride + col : nullptr;
}

// What is read beside z comes from memory, a short piece of many rows at a time, which the hardware does not foresee.
template <class T>
TROUPE_INLINE void fetch_ahead(const T* p, int64_t stride) {
  constexpr int64_t kRows = 4;
  __builtin_prefetch(p + kRows * stride);
}

template <class P, Activation kind>
void forward_rows(const EpilogueBlock& block, const float* bias, const ForwardEpilogue<P>& e) {
  for (int64_t i = 0; i < block.rows; ++i) {
    const int64_t row = block.row + i;
    const float* z_i = block.z + i * block.stride;
    auto* const pre_activation = at(e.pre_activation, row, block.col);
    const auto* const residual = at(e.residual, row, block.col);
    auto* const out_operand = at(e.out_operand, row, block.col);
    auto* const out_real = at(e.out_real, row, block.col);
    // Fetched without asking again whether there is one: a second branch would let the compiler make one operation,
    // with other bits, of the product with the factor and the sum with the residual.
    const float* const fetched = residual ? residual : z_i;
    for_dropped_vectors(
        e.dropout, element_of(e.dropout, row, block.col, block.width),
        block.cols, [&](int64_t j, int64_t count, Vec factor) __attribute__((always_inline)) {
          fetch_ahead(fetched + j, e.residual.stride);
          Vec y = load_n(z_i + j, count);
          if (bias) y += load_n(bias + j, count);
          if (pre_activation) store_n(pre_activation + j, y, count);
          y = activate<kind>(y);
          y *= factor;
          if (residual) y += load_n(residual + j, count);
          if (out_operand) store_n(out_operand + j, y, count);
          if (out_real) store_n(out_real + j, y, count);
        });
  }
}

template <class P, Activation kind>
void backward_rows(const EpilogueBlock& block, const BackwardEpilogue<P>& e) {
  for (int64_t i = 0; i < block.rows; ++i) {
    const int64_t row = block.row + i;
    const float* dx_i = block.z + i * block.stride;
    const auto* const pre_activation = at(e.pre_activation, row, block.col);
    auto* const out_operand = at(e.out_operand, row, block.col);
    auto* const out_real = at(e.out_real, row, block.col);
    for_vectors(
        block.cols, [&](int64_t j, int64_t count) __attribute__((always_inline)) {
          if constexpr (kind != Activation::kNone) fetch_ahead(pre_activation + j, e.pre_activation.stride);
          Vec dx = load_n(dx_i + j, count);
          if constexpr (kind != Activation::kNone) dx *= derivative<kind>(load_n(pre_activation + j, count));
          if (out_operand) store_n(out_operand + j, dx, count);
          if (out_real) store_n(out_real + j, dx, count);
        });
  }
}

template <class P>
void forward(const EpilogueBlock& block, const float* bias, const ForwardEpilogue<P>& e) {
  with_activation(e.activation, [&]<Activation kind>() { forward_rows<P, kind>(block, bias, e); });
}

template <class P>
void backward(const EpilogueBlock& block, const BackwardEpilogue<P>& e) {
  with_activation(e.activation, [&]<Activation kind>() { backward_rows<P, kind>(block, e); });
}

template <class T>
void column_sums(Matrix<const T> dy, float* sums) {
  constexpr int64_t kVectors = 4;
  for (int64_t col = 0; col < dy.cols; col += kVectors * kWidth) {
    const int64_t cols = dy.cols - col < kVectors * kWidth ? dy.cols - col : kVectors * kWidth;
    Vec sum[kVectors] = {};
    for (int64_t i = 0; i < dy.rows; ++i) {
      const T* row = dy.data + i * dy.stride + col;
      if (cols == kVectors * kWidth)
        for (int64_t v = 0; v < kVectors; ++v) sum[v] += load(row + v * kWidth);
      else
        for_vectors(cols, [&](int64_t j, int64_t count) { sum[j / kWidth] += load_n(row + j, count); });
    }
    for_vectors(cols, [&](int64_t j, int64_t count) {
      store_n(sums + col + j, load_n(sums + col + j, count) + sum[j / kWidth], count);
    });
  }
}

void add(Matrix<const float> z, float* c, int64_t ldc) {
  for (int64_t i = 0; i < z.rows; ++i)
    for_vectors(z.cols, [&](int64_t j, int64_t count) {
      float* c_ij = c + i * ldc + j;
      store_n(c_ij, load_n(c_ij, count) + load_n(z.data + i * z.stride + j, count), count);
    });
}

}  // namespace

extern const EpilogueKernels epilogue_kernels;
const EpilogueKernels epilogue_kernels = {forward<F32>,   forward<Bf16>,      backward<F32>,
                                          backward<Bf16>, column_sums<float>, column_sums<bf16>, add};

}  // namespace troupe::TROUPE_ISA_NAMESPACE
