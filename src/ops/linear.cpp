#include "ops/linear.h"

#include <array>
#include <type_traits>

#include "base/device.h"
#include "base/error.h"
#include "base/threads.h"
#include "kernels/linear_blocked.h"
#include "kernels/onednn/gemm.h"
#include "kernels/ref/linear.h"
#include "kernels/table.h"
#include "ops/cuda/cublaslt.h"
#include "ops/cuda/cutlass.h"
#include "ops/cuda/grouped.h"
#include "ops/cuda/row.h"

namespace troupe {
namespace {

// The caller's offsets, or those of one map over all rows.
class Offsets {
 public:
  Offsets(const RowOffsets& row_offsets, int64_t num_experts, int64_t rows) : all_{0, rows}, begin_(all_.data()) {
    const std::span<const int64_t> offsets = row_offsets.here();
    TROUPE_ASSERT(offsets.empty() ? num_experts == 1 : static_cast<int64_t>(offsets.size()) == num_experts + 1);
    TROUPE_ASSERT(offsets.empty() || (offsets.front() == 0 && offsets.back() == rows));
    static_cast<void>(num_experts);
    if (!offsets.empty()) begin_ = offsets.data();
  }
  const int64_t* data() const { return begin_; }

 private:
  std::array<int64_t, 2> all_;
  const int64_t* begin_;
};

template <class P>
Offsets checked_offsets(const LinearForward<P>& task) {
  const auto& epilogue = task.epilogue;
  TROUPE_ASSERT(task.x_RK.cols == task.bank.in());
  TROUPE_ASSERT(static_cast<bool>(epilogue.out_operand) != static_cast<bool>(epilogue.out_real) || task.x_RK.rows == 0);
  static_cast<void>(epilogue);
  return {task.offsets, task.bank.num_experts(), task.x_RK.rows};
}

template <class P>
Offsets checked_offsets(const LinearBackwardInput<P>& task) {
  const auto& epilogue = task.epilogue;
  TROUPE_ASSERT(task.dy_RN.cols == task.bank.out());
  TROUPE_ASSERT(static_cast<bool>(epilogue.out_operand) != static_cast<bool>(epilogue.out_real) ||
                task.dy_RN.rows == 0);
  static_cast<void>(epilogue);
  return {task.offsets, task.bank.num_experts(), task.dy_RN.rows};
}

template <class P>
Offsets checked_offsets(const LinearBackwardWeight<P>& task) {
  TROUPE_ASSERT(task.dy_RN.cols == task.bank.out() && task.x_RK.cols == task.bank.in());
  TROUPE_ASSERT(task.dy_RN.rows == task.x_RK.rows);
  return {task.offsets, task.bank.num_experts(), task.dy_RN.rows};
}

template <class P>
void blocked(const GemmKernels& gemm, const LinearForward<P>& task, Context& context) {
  const void* const weights = task.bank.packed_forward(gemm, context);
  blocked_forward<P>({gemm, kernels().epilogue, context, weights}, task.bank.view(), task.x_RK,
                     checked_offsets(task).data(), task.epilogue);
}

template <class P>
void blocked(const GemmKernels& gemm, const LinearBackwardInput<P>& task, Context& context) {
  const void* const weights = task.bank.packed_backward(gemm, context);
  blocked_backward_input<P>({gemm, kernels().epilogue, context, nullptr, weights}, task.bank.view(), task.dy_RN,
                            checked_offsets(task).data(), task.epilogue);
}

template <class P>
void blocked(const GemmKernels& gemm, const LinearBackwardWeight<P>& task, Context& context) {
  blocked_backward_weight<P>({gemm, kernels().epilogue, context}, task.bank.view(), task.dy_RN, task.x_RK,
                             checked_offsets(task).data(), task.dw, task.db);
}

template <class P>
void reference(const LinearForward<P>& task) {
  ref::linear_forward<P>(task.bank.view(), task.x_RK, checked_offsets(task).data(), task.epilogue);
}

template <class P>
void reference(const LinearBackwardInput<P>& task) {
  ref::linear_backward_input<P>(task.bank.view(), task.dy_RN, checked_offsets(task).data(), task.epilogue);
}

template <class P>
void reference(const LinearBackwardWeight<P>& task) {
  ref::linear_backward_weight<P>(task.bank.view(), task.dy_RN, task.x_RK, checked_offsets(task).data(), task.dw,
                                 task.db);
}

// The block products of a level, nullptr if it has none; and those of oneDNN.
template <class P>
const GemmKernels* gemm_at(Isa level) {
  const GemmTable& table = kernels(level).gemm;
  return std::is_same_v<P, F32> ? table.f32 : table.bf16;
}
template <class P>
const GemmKernels& onednn_gemm() {
  return std::is_same_v<P, F32> ? onednn::gemm_f32() : onednn::gemm_bf16();
}

template <class P, Isa level>
std::string gemm_unavailable() {
  const std::string reason = refuses_below(level);
  return !reason.empty() || gemm_at<P>(level) ? reason : "no kernel";
}

std::string onednn_unavailable() {
  const char* const reason = onednn::unavailable_reason();
  return reason ? reason : "";
}

template <class Task, Isa level>
Implementation<Task> gemm_row() {
  using P = typename Task::precision;
  return {name_of_enum(level),
          [](const Task& task, Context& context) {
            static const GemmKernels& gemm = *gemm_at<P>(level);
            blocked(gemm, task, context);
          },
          Device::kCpu, gemm_unavailable<P, level>};
}

// oneDNN serves processors and types for which no kernel of ours exists.
template <class Task, Isa... levels>
std::vector<Implementation<Task>> gemm_rows(Levels<levels...>) {
  std::vector<Implementation<Task>> rows = {gemm_row<Task, levels>()...};
  if constexpr (sizeof...(levels) > 0)
    rows.push_back(
        {"onednn",
         [](const Task& task, Context& context) { blocked(onednn_gemm<typename Task::precision>(), task, context); },
         Device::kCpu, onednn_unavailable});
  rows.push_back({"ref", [](const Task& task, Context&) { reference(task); }});
  return rows;
}

// Calls f with every block of a matrix of sums.
template <class F>
void each_block(const Matrix<const float>& sums, const F& f) {
  constexpr int64_t kRows = 16;
  parallel_chunks(sums.rows, kRows, [&](int64_t begin, int64_t end) {
    f(EpilogueBlock{sums.data + begin * sums.stride, sums.stride, begin, 0, end - begin, sums.cols, sums.cols});
  });
}

template <class P>
void stored(Isa level, const StoreForward<P>& task, Context&) {
  each_block(task.z_RN, [&](const EpilogueBlock& block) {
    if constexpr (std::is_same_v<P, F32>)
      kernels(level).epilogue.forward_f32(block, nullptr, task.epilogue);
    else
      kernels(level).epilogue.forward_bf16(block, nullptr, task.epilogue);
  });
}

template <class P>
void stored(Isa level, const StoreBackwardInput<P>& task, Context&) {
  each_block(task.dx_RK, [&](const EpilogueBlock& block) {
    if constexpr (std::is_same_v<P, F32>)
      kernels(level).epilogue.backward_f32(block, task.epilogue);
    else
      kernels(level).epilogue.backward_bf16(block, task.epilogue);
  });
}

constexpr auto kStoredAt = [](Isa level, const auto& task, Context& context) { stored(level, task, context); };

}  // namespace

template <class P>
bool LinearBank<P>::can_be_packed() {
  if constexpr (std::is_same_v<P, F64>) {
    return false;
  } else {
    const GemmKernels* const gemm = gemm_at<P>(active_isa());
    return active_device() == Device::kCpu && gemm && gemm->prepack;
  }
}

template <class P>
void LinearBank<P>::pack(int64_t expert, const WeightSource& source) {
  if constexpr (!std::is_same_v<P, F64>) {
    const int64_t size = weights_.out * weights_.in * size_of(source.dtype);
    if (source.dtype != DType::kF32 || static_cast<int64_t>(source.bytes.size()) != size || has_weights() ||
        !can_be_packed())
      fail(ErrorCode::kInternal, "linear: pack: expected {} bytes of F32 for a bank without weights, got {} of {}",
           size, source.bytes.size(), name_of(source.dtype));
    const GemmKernels& gemm = *gemm_at<P>(active_isa());
    const WeightView<P> map{1, weights_.out, weights_.in, reinterpret_cast<const float*>(source.bytes.data()), nullptr};
    const int64_t bytes = packed_forward_bytes(gemm, map);
    forward_.bytes.reserve(weights_.num_experts * bytes);
    pack_forward_weights(gemm, map, forward_.bytes.data() + expert * bytes, Context::of_this_thread());
    forward_.gemm = &gemm;
  }
}

template <class P>
void LinearBank<P>::require_weights(const char* product) const {
  if (!has_weights())
    fail(ErrorCode::kInternal, "linear: {}: expected weights, got packed copies for the forward product alone",
         product);
}

template <class P>
const void* LinearBank<P>::packed_forward(const GemmKernels& gemm, Context& context) const {
  if constexpr (!std::is_same_v<P, F64>) {
    if (gemm.prepack && forward_.gemm != &gemm) {
      require_weights("forward");
      forward_.bytes.reserve(packed_forward_bytes(gemm, weights_));
      pack_forward_weights(gemm, weights_, forward_.bytes.data(), context);
      forward_.gemm = &gemm;
    }
  }
  return forward_.gemm == &gemm ? forward_.bytes.data() : nullptr;
}

template <class P>
const void* LinearBank<P>::packed_backward(const GemmKernels& gemm, Context& context) const {
  if constexpr (!std::is_same_v<P, F64>) {
    if (gemm.prepack && backward_.gemm != &gemm) {
      require_weights("backward");
      backward_.bytes.reserve(packed_backward_bytes(gemm, weights_));
      pack_backward_weights(gemm, weights_, backward_.bytes.data(), context);
      backward_.gemm = &gemm;
    }
  }
  return backward_.gemm == &gemm ? backward_.bytes.data() : nullptr;
}

template <class P>
const typename P::operand* LinearBank<P>::device_operands() const {
  if constexpr (std::is_same_v<P, Bf16>) {
    const int64_t size = weights_.num_experts * weights_.out * weights_.in;
    if (!is_rounded_) {
      const int64_t padding = weights_.num_experts == 1 ? -weights_.out & (kPaddedRows - 1) : 0;
      const int64_t padded = size + padding * weights_.in;
      if (rounded_.size() < padded)
        rounded_ = Buffer<bf16>(padded, cuda::memory());
      else if (!is_padded_ && padding > 0)
        cuda::launch(cuda::FillKernel<bf16>{{rounded_.data() + size, padding, weights_.in, weights_.in}, bf16()});
      is_padded_ = true;
      const int64_t biases = weights_.bias ? weights_.num_experts * weights_.out : 0;
      if (rounded_bias_.size() < biases) rounded_bias_ = Buffer<bf16>(biases, cuda::memory());
      cuda::launch(cuda::RoundKernel{{weights_.weight, rounded_.data(), size},
                                     {weights_.bias, rounded_bias_.data(), biases}});
      is_rounded_ = true;
    }
    return rounded_.data();
  } else {
    return weights_.weight;
  }
}

template <class P>
const typename P::operand* LinearBank<P>::device_bias() const {
  if constexpr (std::is_same_v<P, Bf16>) {
    device_operands();
    return weights_.bias ? rounded_bias_.data() : nullptr;
  } else {
    return weights_.bias;
  }
}

template <class P>
Implementations<LinearForward<P>> LinearForward<P>::implementations() {
  static const auto rows =
      with_cutlass(with_grouped(with_cublaslt(with_cuda(gemm_rows<LinearForward>(ProductLevels<P>())))));
  return rows;
}

template <class P>
Implementations<LinearBackwardInput<P>> LinearBackwardInput<P>::implementations() {
  static const auto rows =
      with_cutlass(with_grouped(with_cublaslt(with_cuda(gemm_rows<LinearBackwardInput>(ProductLevels<P>())))));
  return rows;
}

template <class P>
Implementations<LinearBackwardWeight<P>> LinearBackwardWeight<P>::implementations() {
  static const auto rows =
      with_cutlass(with_grouped(with_cublaslt(with_cuda(gemm_rows<LinearBackwardWeight>(ProductLevels<P>())))));
  return rows;
}

template <class P>
Implementations<StoreForward<P>> StoreForward<P>::implementations() {
  static const auto rows = with_cuda(
      rows_at<StoreForward>(VectorLevels<P>(), kStoredAt, [](const auto& task) { ref::store_forward(task); }));
  return rows;
}

template <class P>
Implementations<StoreBackwardInput<P>> StoreBackwardInput<P>::implementations() {
  static const auto rows = with_cuda(rows_at<StoreBackwardInput>(
      VectorLevels<P>(), kStoredAt, [](const auto& task) { ref::store_backward_input(task); }));
  return rows;
}

template class LinearBank<F64>;
template class LinearBank<F32>;
template class LinearBank<Bf16>;
template struct LinearForward<F64>;
template struct LinearForward<F32>;
template struct LinearForward<Bf16>;
template struct LinearBackwardInput<F64>;
template struct LinearBackwardInput<F32>;
template struct LinearBackwardInput<Bf16>;
template struct LinearBackwardWeight<F64>;
template struct LinearBackwardWeight<F32>;
template struct LinearBackwardWeight<Bf16>;
template struct StoreForward<F64>;
template struct StoreForward<F32>;
template struct StoreForward<Bf16>;
template struct StoreBackwardInput<F64>;
template struct StoreBackwardInput<F32>;
template struct StoreBackwardInput<Bf16>;

}  // namespace troupe
