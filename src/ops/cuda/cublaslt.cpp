// The products of ops/linear.h by cuBLASLt, expert by expert; what of an epilogue is more than storing is a pass of our
// own. Refused, and so left to our own products, is what it wants aligned and is not.
#include "kernels/cuda/cublaslt.h"

#include "ops/cuda/cublaslt.h"
#include "ops/cuda/linear.h"
#include "ops/cuda/row.h"

namespace troupe {
namespace {

template <class T>
constexpr cuda::lt::Type kLtType = std::is_same_v<T, bf16> ? cuda::lt::kBf16 : cuda::lt::kF32;

template <class T>
bool aligned(const Matrix<T>& matrix) {
  return !matrix || cuda::lt_aligned(matrix.data, matrix.stride * static_cast<int64_t>(sizeof(T)));
}

template <class P>
bool weights_aligned(const LinearBank<P>& bank) {
  return cuda::lt_aligned(bank.view().weight, bank.in() * static_cast<int64_t>(sizeof(typename P::operand)));
}

constexpr const char* kUnaligned = "cuBLASLt wants rows that start at multiples of 16 bytes";
constexpr const char* kNothing = "cuBLASLt wants something to add up";

template <class T>
cuda::LtProduct::Factor factor(const Matrix<T>& matrix, bool transposed) {
  return {matrix.data, matrix.cols, matrix.rows, matrix.stride, transposed};
}

// body(expert, first row, number of rows) for those that have rows.
template <class Body>
void each_expert(RowOffsets offsets, int64_t rows, const Body& body) {
  if (offsets.empty()) {
    if (rows > 0) body(0, 0, rows);
    return;
  }
  for (size_t e = 0; e + 1 < offsets.size(); ++e)
    if (offsets[e + 1] > offsets[e]) body(static_cast<int64_t>(e), offsets[e], offsets[e + 1] - offsets[e]);
}

// The weights [N, K] of an expert, in the type of operands.
template <class P>
Matrix<const typename P::operand> weights_of(const LinearBank<P>& bank, int64_t expert) {
  const int64_t N = bank.out(), K = bank.in();
  return {bank.device_operands() + expert * N * K, N, K};
}

// out = a op(b), row-major, into what is set of two outputs.
template <class P>
void multiply_into(Matrix<typename P::operand> out_operand, Matrix<typename P::real> out_real,
                   const cuda::LtProduct::Factor& a, const cuda::LtProduct::Factor& b, Context& context) {
  using operand = typename P::operand;
  const auto into = [&]<class T>(const Matrix<T>& out) {
    cuda::lt_multiply({kLtType<operand>, kLtType<T>, a, b, out.data, out.cols, out.rows, out.stride, 0.0f}, context);
  };
  out_operand ? into(out_operand) : into(out_real);
}

template <class P>
bool only_stores(const ForwardEpilogue<P>& epilogue, const WeightView<P>& view) {
  return !view.bias && epilogue.activation == Activation::kNone && !epilogue.pre_activation && !epilogue.residual &&
         !epilogue.dropout.active() && epilogue.dropout.multiplier == 1.0f;
}

}  // namespace

template <class P>
std::string refused_by_cublaslt(const LinearForward<P>& task) {
  if (task.bank.in() == 0) return kNothing;
  return aligned(task.x_RK) && weights_aligned(task.bank) && aligned(task.epilogue.out_operand) &&
                 aligned(task.epilogue.out_real) && task.bank.out() % 4 == 0
             ? ""
             : kUnaligned;
}

template <class P>
std::string refused_by_cublaslt(const LinearBackwardInput<P>& task) {
  if (task.bank.out() == 0) return kNothing;
  return aligned(task.dy_RN) && weights_aligned(task.bank) && aligned(task.epilogue.out_operand) &&
                 aligned(task.epilogue.out_real)
             ? ""
             : kUnaligned;
}

template <class P>
std::string refused_by_cublaslt(const LinearBackwardWeight<P>& task) {
  return aligned(task.dy_RN) && aligned(task.x_RK) && cuda::lt_aligned(task.dw, task.bank.in() * 4) ? "" : kUnaligned;
}

template <class P>
void by_cublaslt(const LinearForward<P>& task, Context& context) {
  const WeightView<P>& view = task.bank.view();
  const int64_t N = view.out;
  const bool direct = only_stores(task.epilogue, view);
  const Context::Lease lease(context, direct ? 0 : task.x_RK.rows * N * static_cast<int64_t>(sizeof(float)));
  each_expert(task.offsets, task.x_RK.rows, [&](int64_t e, int64_t first, int64_t rows) {
    const Matrix<float> z(lease.as<float>(), rows, N);
    const auto part = [&](const auto& matrix) { return matrix ? matrix.rows_from(first, rows) : matrix; };
    multiply_into<P>(direct ? part(task.epilogue.out_operand) : Matrix<typename P::operand>(),
                     direct ? part(task.epilogue.out_real) : z, factor(weights_of(task.bank, e), true),
                     factor(task.x_RK.rows_from(first, rows), false), context);
    if (!direct)
      cuda::launch(cuda::ForwardStoreKernel<typename P::operand>{cuda::view(Matrix<const float>(z)), view.bias_of(e),
                                                                 device_store(task.epilogue), first});
  });
}

template <class P>
void by_cublaslt(const LinearBackwardInput<P>& task, Context& context) {
  const int64_t K = task.bank.in();
  const bool direct = task.epilogue.activation == Activation::kNone;
  const Context::Lease lease(context, direct ? 0 : task.dy_RN.rows * K * static_cast<int64_t>(sizeof(float)));
  each_expert(task.offsets, task.dy_RN.rows, [&](int64_t e, int64_t first, int64_t rows) {
    const Matrix<float> dx(lease.as<float>(), rows, K);
    const auto part = [&](const auto& matrix) { return matrix ? matrix.rows_from(first, rows) : matrix; };
    multiply_into<P>(direct ? part(task.epilogue.out_operand) : Matrix<typename P::operand>(),
                     direct ? part(task.epilogue.out_real) : dx, factor(weights_of(task.bank, e), false),
                     factor(task.dy_RN.rows_from(first, rows), false), context);
    if (!direct)
      cuda::launch(cuda::BackwardStoreKernel<typename P::operand>{cuda::view(Matrix<const float>(dx)),
                                                                  device_store(task.epilogue), first});
  });
}

template <class P>
void by_cublaslt(const LinearBackwardWeight<P>& task, Context& context) {
  using operand = typename P::operand;
  const int64_t N = task.bank.out(), K = task.bank.in();
  each_expert(task.offsets, task.dy_RN.rows, [&](int64_t e, int64_t first, int64_t rows) {
    cuda::lt_multiply({kLtType<operand>, cuda::lt::kF32, factor(task.x_RK.rows_from(first, rows), false),
                       factor(task.dy_RN.rows_from(first, rows), true), task.dw + e * N * K, K, N, K, 1.0f},
                      context);
  });
  if (!task.db) return;
  const DeviceOffsets offsets(task.offsets, task.bank.num_experts(), task.dy_RN.rows, context);
  cuda::launch(cuda::BiasGradientKernel<operand>{cuda::view(task.dy_RN), offsets.tiles, task.db});
}

#define TROUPE_INSTANTIATE(P)                                             \
  template std::string refused_by_cublaslt(const LinearForward<P>&);        \
  template std::string refused_by_cublaslt(const LinearBackwardInput<P>&);  \
  template std::string refused_by_cublaslt(const LinearBackwardWeight<P>&); \
  template void by_cublaslt(const LinearForward<P>&, Context&);           \
  template void by_cublaslt(const LinearBackwardInput<P>&, Context&);     \
  template void by_cublaslt(const LinearBackwardWeight<P>&, Context&);
TROUPE_INSTANTIATE(F32)
TROUPE_INSTANTIATE(Bf16)
#undef TROUPE_INSTANTIATE

}  // namespace troupe
