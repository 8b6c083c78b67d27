// The products of ops/linear.h by cuBLASLt, expert by expert; what of an epilogue is more than storing is a pass of our
// own. Refused, and so left to our own products, is what it wants aligned and is not.
#include "kernels/cuda/cublaslt.h"

#include "kernels/cuda/switches.h"
#include "ops/cuda/cublaslt.h"
#include "ops/cuda/linear.h"
#include "ops/cuda/row.h"

namespace troupe {
namespace {

template <class T>
constexpr cuda::lt::Type kLtType = std::is_same_v<T, bf16> ? cuda::lt::kBf16 : cuda::lt::kF32;

template <class P>
bool weights_aligned(const LinearBank<P>& bank) {
  return rows_aligned(bank.view().weight, bank.in() * static_cast<int64_t>(sizeof(typename P::operand)));
}

constexpr const char* kUnaligned = "cuBLASLt wants rows that start at multiples of 16 bytes";
constexpr const char* kNothing = "cuBLASLt wants something to add up";

template <class T>
cuda::LtProduct::Factor factor(const Matrix<T>& matrix, bool transposed) {
  return {matrix.data, matrix.cols, matrix.rows, matrix.stride, transposed};
}

// body(expert, first row, number of rows) for those that have rows.
template <class Body>
void each_expert(const RowOffsets& row_offsets, int64_t rows, const Body& body) {
  if (row_offsets.empty()) {
    if (rows > 0) body(0, 0, rows);
    return;
  }
  const std::span<const int64_t> offsets = row_offsets.here();
  for (size_t e = 0; e + 1 < offsets.size(); ++e)
    if (offsets[e + 1] > offsets[e]) body(static_cast<int64_t>(e), offsets[e], offsets[e + 1] - offsets[e]);
}

// The weights [N, K] of an expert, in the type of operands.
template <class P>
Matrix<const typename P::operand> weights_of(const LinearBank<P>& bank, int64_t expert) {
  const int64_t N = bank.out(), K = bank.in();
  return {bank.device_operands() + expert * N * K, N, K};
}

// What a product does to its sums before it stores them in their type.
struct Addends {
  float multiplier = 1.0f;
  const void* bias = nullptr;  // of the result's type
  Matrix<const float> residual = {};
  bool rows_vary = false;  // those of an expert
};

// out = multiplier a op(b) + bias + residual, row-major, into what is set of two outputs.
template <class P>
cuda::LtProduct product_into(Matrix<typename P::operand> out_operand, Matrix<typename P::real> out_real,
                             const cuda::LtProduct::Factor& a, const cuda::LtProduct::Factor& b,
                             const Addends& addends = {}) {
  using operand = typename P::operand;
  const auto into = [&]<class T>(const Matrix<T>& out) {
    return cuda::LtProduct{.operands = kLtType<operand>,
                           .result = kLtType<T>,
                           .a = a,
                           .b = b,
                           .d = out.data,
                           .d_rows = out.cols,
                           .d_cols = out.rows,
                           .d_stride = out.stride,
                           .beta = addends.residual ? 1.0f : 0.0f,
                           .alpha = addends.multiplier,
                           .c = addends.residual.data,
                           .c_stride = addends.residual.stride,
                           .bias = addends.bias,
                           .rows_vary = addends.rows_vary};
  };
  return out_operand ? into(out_operand) : into(out_real);
}

// Whether the bias of every expert starts where the library wants it.
template <class P>
bool bias_fits(const WeightView<P>& view) {
  return !view.bias || ((view.num_experts == 1 || view.out % 8 == 0) && rows_aligned(view.bias, 0));
}

// Whether the library stores the result itself: sums, a bias and, in float32, a residual.
template <class P>
bool stores_alone(const ForwardEpilogue<P>& epilogue, const WeightView<P>& view) {
  const bool sums = epilogue.activation == Activation::kNone && !epilogue.pre_activation && !epilogue.dropout.active();
  const bool adds_bias = bias_fits(view) && (!view.bias || epilogue.dropout.multiplier == 1.0f);
  const bool residual_fits = !epilogue.residual || (epilogue.out_real && aligned(epilogue.residual));
  return sums && adds_bias && residual_fits && aligned(epilogue.out_operand) && aligned(epilogue.out_real);
}

template <class P>
bool stores_alone(const BackwardEpilogue<P>& epilogue) {
  return epilogue.activation == Activation::kNone && aligned(epilogue.out_operand) && aligned(epilogue.out_real);
}

// The products of all experts, made if the library takes them all.
template <class ProductOf>
bool multiply_all(const RowOffsets& offsets, int64_t rows, const ProductOf& product_of, Context& context) {
  bool takes = true;
  each_expert(offsets, rows, [&](auto... expert) { takes = takes && cuda::lt_takes(product_of(expert...)); });
  if (takes) each_expert(offsets, rows, [&](auto... expert) { cuda::lt_multiply(product_of(expert...), context); });
  return takes;
}

// Whether the library leaves sums in the type of operands, which one pass takes through the activation, for all experts
// at once; then both are done.
template <class P>
bool rounds_sums_first(const LinearForward<P>& task, Context& context) {
  if constexpr (std::is_same_v<P, Bf16>) {
    if (!rounds_sums(task.epilogue)) return false;
    const WeightView<P>& view = task.bank.view();
    const Matrix<bf16> sums = rounded_sums(task.epilogue);
    if (!aligned(sums) || !bias_fits(view)) return false;
    const auto product_of = [&](int64_t e, int64_t first, int64_t rows) {
      return product_into<P>(sums.rows_from(first, rows), {}, factor(weights_of(task.bank, e), true),
                             factor(task.x_RK.rows_from(first, rows), false),
                             {.bias = view.bias ? task.bank.device_bias() + e * view.out : nullptr,
                              .rows_vary = !task.offsets.empty()});
    };
    if (!multiply_all(task.offsets, task.x_RK.rows, product_of, context)) return false;
    activate_sums(task.epilogue);
    return true;
  }
  return false;
}

template <class P>
bool rounds_sums_first(const LinearBackwardInput<P>& task, Context& context) {
  if constexpr (std::is_same_v<P, Bf16>) {
    const Matrix<bf16> sums = task.epilogue.out_operand;
    if (!rounds_sums(task.epilogue) || !aligned(sums)) return false;
    const auto product_of = [&](int64_t e, int64_t first, int64_t rows) {
      return product_into<P>(sums.rows_from(first, rows), {}, factor(weights_of(task.bank, e), false),
                             factor(task.dy_RN.rows_from(first, rows), false), {.rows_vary = !task.offsets.empty()});
    };
    if (!multiply_all(task.offsets, task.dy_RN.rows, product_of, context)) return false;
    derive_sums(task, context);
    return true;
  }
  return false;
}

// Whether the product for the gradient of weights is asked for that of biases, too.
bool sums_biases_too() { return cuda::value_of(cuda::kBiasSumsSwitch) == "1"; }

// Float32 rows of `cols` elements that start at multiples of 16 bytes.
int64_t aligned_stride(int64_t cols) { return (cols + 3) / 4 * 4; }

}  // namespace

template <class P>
std::string refused_by_cublaslt(const LinearForward<P>& task) {
  if (task.bank.in() == 0) return kNothing;
  return aligned(task.x_RK) && weights_aligned(task.bank) ? "" : kUnaligned;
}

template <class P>
std::string refused_by_cublaslt(const LinearBackwardInput<P>& task) {
  if (task.bank.out() == 0) return kNothing;
  return aligned(task.dy_RN) && weights_aligned(task.bank) ? "" : kUnaligned;
}

template <class P>
std::string refused_by_cublaslt(const LinearBackwardWeight<P>& task) {
  return aligned(task.dy_RN) && aligned(task.x_RK) && rows_aligned(task.dw, task.bank.in() * 4) ? "" : kUnaligned;
}

template <class P>
void by_cublaslt(const LinearForward<P>& task, Context& context) {
  const WeightView<P>& view = task.bank.view();
  const ForwardEpilogue<P>& epilogue = task.epilogue;
  const int64_t N = view.out, stride = aligned_stride(N);
  if (rounds_sums_first(task, context)) return;
  const bool direct = stores_alone(epilogue, view), rows_vary = !task.offsets.empty();
  each_expert(task.offsets, task.x_RK.rows, [&](int64_t e, int64_t first, int64_t rows) {
    const auto part = [&](const auto& matrix) { return matrix ? matrix.rows_from(first, rows) : matrix; };
    const cuda::LtProduct::Factor weights = factor(weights_of(task.bank, e), true);
    const cuda::LtProduct::Factor x = factor(task.x_RK.rows_from(first, rows), false);
    if (direct) {
      Addends addends{epilogue.dropout.multiplier, nullptr, part(epilogue.residual), rows_vary};
      if (view.bias && epilogue.out_operand) addends.bias = task.bank.device_bias() + e * N;
      if (view.bias && epilogue.out_real) addends.bias = view.bias_of(e);
      const auto product = product_into<P>(part(epilogue.out_operand), part(epilogue.out_real), weights, x, addends);
      if (cuda::lt_takes(product)) return cuda::lt_multiply(product, context);
    }
    const Context::Lease lease(context, rows * stride * static_cast<int64_t>(sizeof(float)));
    const Matrix<float> z(lease.as<float>(), rows, N, stride);
    cuda::lt_multiply(product_into<P>({}, z, weights, x, {.rows_vary = rows_vary}), context);
    cuda::launch(cuda::ForwardStoreKernel<typename P::operand>{cuda::view(Matrix<const float>(z)), view.bias_of(e),
                                                               device_store(epilogue), first});
  });
}

template <class P>
void by_cublaslt(const LinearBackwardInput<P>& task, Context& context) {
  const int64_t K = task.bank.in();
  if (rounds_sums_first(task, context)) return;
  const bool direct = stores_alone(task.epilogue);
  const bool rows_vary = !task.offsets.empty();
  each_expert(task.offsets, task.dy_RN.rows, [&](int64_t e, int64_t first, int64_t rows) {
    const auto part = [&](const auto& matrix) { return matrix ? matrix.rows_from(first, rows) : matrix; };
    const cuda::LtProduct::Factor weights = factor(weights_of(task.bank, e), false);
    const cuda::LtProduct::Factor dy = factor(task.dy_RN.rows_from(first, rows), false);
    if (direct)
      return cuda::lt_multiply(
          product_into<P>(part(task.epilogue.out_operand), part(task.epilogue.out_real), weights, dy,
                          {.rows_vary = rows_vary}),
          context);
    const Context::Lease lease(context, rows * K * static_cast<int64_t>(sizeof(float)));
    const Matrix<float> dx(lease.as<float>(), rows, K);
    cuda::lt_multiply(product_into<P>({}, dx, weights, dy, {.rows_vary = rows_vary}), context);
    cuda::launch(cuda::BackwardStoreKernel<typename P::operand>{cuda::view(Matrix<const float>(dx)),
                                                                device_store(task.epilogue), first});
  });
}

template <class P>
void by_cublaslt(const LinearBackwardWeight<P>& task, Context& context) {
  using operand = typename P::operand;
  const int64_t N = task.bank.out(), K = task.bank.in(), E = task.bank.num_experts();
  const auto product_of = [&](float* sums, int64_t e, int64_t first, int64_t rows) {
    return cuda::LtProduct{.operands = kLtType<operand>,
                           .result = cuda::lt::kF32,
                           .a = factor(task.x_RK.rows_from(first, rows), false),
                           .b = factor(task.dy_RN.rows_from(first, rows), true),
                           .d = task.dw + e * N * K,
                           .d_rows = K,
                           .d_cols = N,
                           .d_stride = K,
                           .beta = 1.0f,
                           .sums_of_b = sums ? sums + e * N : nullptr,
                           .rows_vary = !task.offsets.empty()};
  };
  if (task.db && sums_biases_too() && N % 4 == 0) {  // so that every expert's start at multiples of 16 bytes
    const Context::Lease lease(context, E * N * static_cast<int64_t>(sizeof(float)));
    const Matrix<float> sums(lease.as<float>(), 1, E * N), db(task.db, 1, E * N);
    int64_t with_rows = 0;
    each_expert(task.offsets, task.dy_RN.rows, [&](auto...) { ++with_rows; });
    if (with_rows < E) cuda::launch(cuda::FillKernel<float>{cuda::view(sums), 0.0f});
    const auto with_sums = [&](auto... expert) { return product_of(sums.data, expert...); };
    if (multiply_all(task.offsets, task.dy_RN.rows, with_sums, context))
      return cuda::launch(
          cuda::AddKernel{cuda::view(Matrix<const float>(db)), cuda::view(Matrix<const float>(sums)), cuda::view(db)});
  }
  each_expert(task.offsets, task.dy_RN.rows,
              [&](auto... expert) { cuda::lt_multiply(product_of(nullptr, expert...), context); });
  if (!task.db) return;
  const DeviceOffsets offsets(task.offsets, task.bank.num_experts(), task.dy_RN.rows, context);
  add_bias_gradient<operand>(task.dy_RN, offsets.tiles, task.db, context);
}

template <class P>
int64_t padded_width(const LinearBank<P>& bank, Matrix<const typename P::operand> x_RK) {
  constexpr int64_t kRows = LinearBank<P>::kPaddedRows;
  const bool taken = std::is_same_v<P, Bf16> && bank.num_experts() == 1 && bank.in() > 0 && !bank.view().bias &&
                     cuda::lt_unavailable().empty() && aligned(x_RK) && weights_aligned(bank);
  return taken ? (bank.out() + kRows - 1) / kRows * kRows : bank.out();
}

template <class P>
void padded_forward(const LinearBank<P>& bank, Matrix<const typename P::operand> x_RK, Matrix<typename P::real> y,
                    float multiplier, Context& context) {
  const Matrix<const typename P::operand> weights(bank.device_operands(), y.cols, bank.in());
  cuda::lt_multiply(product_into<P>({}, y, factor(weights, true), factor(x_RK, false), {.multiplier = multiplier}),
                    context);
}

template <class P>
void padded_backward_input(const LinearBank<P>& bank, Matrix<const typename P::operand> dy, Matrix<typename P::real> dx,
                           Context& context) {
  const Matrix<const typename P::operand> weights(bank.device_operands(), dy.cols, bank.in());
  cuda::lt_multiply(product_into<P>({}, dx, factor(weights, false), factor(dy, false)), context);
}

template <class P>
void padded_backward_weight(const LinearBank<P>& bank, Matrix<const typename P::operand> dy,
                            Matrix<const typename P::operand> x_RK, typename P::real* dw, Context& context) {
  using operand = typename P::operand;
  const int64_t N = bank.out(), K = bank.in(), even = N / LinearBank<P>::kPaddedRows * LinearBank<P>::kPaddedRows;
  for (const auto& [n, count] : {std::pair{int64_t{0}, even}, {even, N - even}}) {
    const Matrix<const operand> part(dy.data + n, dy.rows, count, dy.stride);
    cuda::lt_multiply(
        {kLtType<operand>, cuda::lt::kF32, factor(x_RK, false), factor(part, true), dw + n * K, K, count, K, 1.0f},
        context);
  }
}

#define TROUPE_INSTANTIATE(P)                                                                                     \
  template std::string refused_by_cublaslt(const LinearForward<P>&);                                              \
  template std::string refused_by_cublaslt(const LinearBackwardInput<P>&);                                        \
  template std::string refused_by_cublaslt(const LinearBackwardWeight<P>&);                                       \
  template void by_cublaslt(const LinearForward<P>&, Context&);                                                   \
  template void by_cublaslt(const LinearBackwardInput<P>&, Context&);                                             \
  template void by_cublaslt(const LinearBackwardWeight<P>&, Context&);                                            \
  template int64_t padded_width(const LinearBank<P>&, Matrix<const P::operand>);                                  \
  template void padded_forward(const LinearBank<P>&, Matrix<const P::operand>, Matrix<P::real>, float, Context&); \
  template void padded_backward_input(const LinearBank<P>&, Matrix<const P::operand>, Matrix<P::real>, Context&); \
  template void padded_backward_weight(const LinearBank<P>&, Matrix<const P::operand>, Matrix<const P::operand>,  \
                                       P::real*, Context&);
TROUPE_INSTANTIATE(F32)
TROUPE_INSTANTIATE(Bf16)
#undef TROUPE_INSTANTIATE

}  // namespace troupe
