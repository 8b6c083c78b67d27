#include "kernels/cpu/epilogue.h"

#include "kernels/ref/gelu.h"

namespace troupe::TROUPE_ISA_NAMESPACE {
namespace {

template <class P>
void forward(const EpilogueBlock& block, const float* bias, const ForwardEpilogue<P>& e) {
  using operand = typename P::operand;
  for (int64_t i = 0; i < block.rows; ++i) {
    const int64_t row = block.row + i;
    const float* z_i = block.z + i * block.stride;
    for (int64_t j = 0; j < block.cols; ++j) {
      const int64_t col = block.col + j;
      const float z = z_i[j] + (bias ? bias[j] : 0.0f);
      if (e.pre_activation.data) e.pre_activation.data[row * e.pre_activation.stride + col] = operand(z);
      float y = e.gelu ? ref::gelu(e.gelu_kind, z) : z;
      if (e.dropout.probability > 0.0f) y *= e.dropout.scale(row, col, block.width);
      if (e.residual.data) y += e.residual.data[row * e.residual.stride + col];
      if (e.out_operand.data) e.out_operand.data[row * e.out_operand.stride + col] = operand(y);
      if (e.out_real.data) e.out_real.data[row * e.out_real.stride + col] = y;
    }
  }
}

template <class P>
void backward(const EpilogueBlock& block, const BackwardEpilogue<P>& e) {
  using operand = typename P::operand;
  for (int64_t i = 0; i < block.rows; ++i) {
    const int64_t row = block.row + i;
    const float* dx_i = block.z + i * block.stride;
    for (int64_t j = 0; j < block.cols; ++j) {
      const int64_t col = block.col + j;
      float dx = dx_i[j];
      if (e.pre_activation.data)
        dx *= ref::gelu_derivative(e.gelu_kind, float(e.pre_activation.data[row * e.pre_activation.stride + col]));
      if (e.out_operand.data) e.out_operand.data[row * e.out_operand.stride + col] = operand(dx);
      if (e.out_real.data) e.out_real.data[row * e.out_real.stride + col] = dx;
    }
  }
}

template <class T>
void column_sums(Matrix<const T> dy, float* sums) {
  constexpr int64_t kWidth = 64;
  for (int64_t col = 0; col < dy.cols; col += kWidth) {
    const int64_t width = dy.cols - col < kWidth ? dy.cols - col : kWidth;
    float sum[kWidth] = {};
    for (int64_t i = 0; i < dy.rows; ++i)
      for (int64_t j = 0; j < width; ++j) sum[j] += float(dy.data[i * dy.stride + col + j]);
    for (int64_t j = 0; j < width; ++j) sums[col + j] += sum[j];
  }
}

}  // namespace

extern const EpilogueKernels epilogue_kernels;
const EpilogueKernels epilogue_kernels = {forward<F32>,   forward<Bf16>,      backward<F32>,
                                          backward<Bf16>, column_sums<float>, column_sums<bf16>};

}  // namespace troupe::TROUPE_ISA_NAMESPACE
