#include "ops/linear.h"

#include <array>
#include <cstddef>
#include <type_traits>

#include "base/error.h"
#include "base/isa.h"
#include "kernels/linear_blocked.h"
#include "kernels/onednn/gemm.h"
#include "kernels/ref/linear.h"
#include "kernels/table.h"
#include "ops/linear_list.h"
#include "tensor/buffer.h"

namespace troupe {
namespace {

template <class P, Isa level>
std::string level_refusal() {
  if (active_isa() < level) return fmt::format("the instruction set in use is {}", isa_name(active_isa()));
  const GemmTable& table = kernels(level).gemm;
  const bool exists = std::is_same_v<P, F32> ? table.f32 != nullptr : table.bf16 != nullptr;
  return exists ? "" : "no kernel";
}

template <class P, Isa level>
const GemmKernels& level_gemm() {
  return std::is_same_v<P, F32> ? *kernels(level).gemm.f32 : *kernels(level).gemm.bf16;
}

std::string onednn_refusal() {
  const char* reason = onednn::unavailable_reason();
  return reason ? reason : "";
}

template <class P>
constexpr std::array kLinear = {
    LinearKernels<P>{"ref", never_refuses, nullptr},
};

template <>
constexpr std::array kLinear<F32> = {
    LinearKernels<F32>{"avx512", level_refusal<F32, Isa::kAvx512>, level_gemm<F32, Isa::kAvx512>},
    LinearKernels<F32>{"avx2", level_refusal<F32, Isa::kAvx2>, level_gemm<F32, Isa::kAvx2>},
    LinearKernels<F32>{"sse2", level_refusal<F32, Isa::kGeneric>, level_gemm<F32, Isa::kGeneric>},
    LinearKernels<F32>{"onednn", onednn_refusal, onednn::gemm_f32},
    LinearKernels<F32>{"ref", never_refuses, nullptr},
};

template <>
constexpr std::array kLinear<Bf16> = {
    LinearKernels<Bf16>{"amx", level_refusal<Bf16, Isa::kAmx>, level_gemm<Bf16, Isa::kAmx>},
    LinearKernels<Bf16>{"avx512bf16", level_refusal<Bf16, Isa::kAvx512Bf16>, level_gemm<Bf16, Isa::kAvx512Bf16>},
    LinearKernels<Bf16>{"avx512", level_refusal<Bf16, Isa::kAvx512>, level_gemm<Bf16, Isa::kAvx512>},
    LinearKernels<Bf16>{"avx2", level_refusal<Bf16, Isa::kAvx2>, level_gemm<Bf16, Isa::kAvx2>},
    LinearKernels<Bf16>{"sse2", level_refusal<Bf16, Isa::kGeneric>, level_gemm<Bf16, Isa::kGeneric>},
    LinearKernels<Bf16>{"onednn", onednn_refusal, onednn::gemm_bf16},
    LinearKernels<Bf16>{"ref", never_refuses, nullptr},
};

template <class P>
constexpr std::string_view kOpName = "linear";
template <>
constexpr std::string_view kOpName<F32> = "linear (float32)";
template <>
constexpr std::string_view kOpName<Bf16> = "linear (bf16)";

template <class P>
const LinearKernels<P>& chosen() {
  static const LinearKernels<P>& kernels = choose(kOpName<P>, linear_list<P>());
  return kernels;
}

// The caller's offsets, or those of one map over all rows.
class Offsets {
 public:
  Offsets(RowOffsets offsets, int64_t num_experts, int64_t rows) : all_{0, rows}, begin_(all_.data()) {
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

}  // namespace

template <class P>
std::span<const LinearKernels<P>> linear_list() {
  return kLinear<P>;
}

template <class P>
struct LinearBank<P>::Packed {
  const LinearKernels<P>& implementation;
  Buffer<std::byte> forward, backward;
  bool backward_current = false;
};

template <class P>
LinearBank<P>::LinearBank() = default;
template <class P>
LinearBank<P>::~LinearBank() = default;
template <class P>
LinearBank<P>::LinearBank(LinearBank&&) noexcept = default;
template <class P>
LinearBank<P>& LinearBank<P>::operator=(LinearBank&&) noexcept = default;

template <class P>
LinearBank<P>::LinearBank(int64_t num_experts, int64_t out, int64_t in, const real* weight, const real* bias)
    : LinearBank(num_experts, out, in, weight, bias, chosen<P>()) {}

template <class P>
LinearBank<P>::LinearBank(int64_t num_experts, int64_t out, int64_t in, const real* weight, const real* bias,
                          const LinearKernels<P>& implementation)
    : num_experts_(num_experts),
      out_(out),
      in_(in),
      weight_(weight),
      bias_(bias),
      packed_(new Packed{implementation, {}, {}}) {}

template <class P>
std::string_view LinearBank<P>::implementation() const {
  return packed_->implementation.name;
}

template <class P>
void LinearBank<P>::weights_changed() {
  packed_->backward_current = false;
  if constexpr (!std::is_same_v<P, F64>) {
    if (!packed_->implementation.gemm) return;
    const GemmKernels& gemm = packed_->implementation.gemm();
    if (!gemm.prepack) return;
    packed_->forward.reserve(packed_forward_bytes(gemm, view()));
    pack_forward_weights(gemm, view(), packed_->forward.data());
  }
}

namespace {

// The block products of a bank and its packed weights; the backward copy is made here when first needed.
template <class P>
BlockedLinear blocked(const LinearBank<P>& bank, bool backward) {
  auto& packed = bank.packed();
  const GemmKernels& gemm = packed.implementation.gemm();
  if (gemm.prepack && backward && !packed.backward_current) {
    packed.backward.reserve(packed_backward_bytes(gemm, bank.view()));
    pack_backward_weights(gemm, bank.view(), packed.backward.data());
    packed.backward_current = true;
  }
  return {gemm, kernels().epilogue, packed.forward.data(), packed.backward.data()};
}

}  // namespace

template <class P>
void linear_forward(const LinearBank<P>& bank, Matrix<const typename P::operand> x_RK, RowOffsets row_offsets,
                    const ForwardEpilogue<P>& epilogue) {
  TROUPE_ASSERT(x_RK.cols == bank.in());
  TROUPE_ASSERT(static_cast<bool>(epilogue.out_operand) != static_cast<bool>(epilogue.out_real) || x_RK.rows == 0);
  const Offsets offsets(row_offsets, bank.num_experts(), x_RK.rows);
  if constexpr (!std::is_same_v<P, F64>)
    if (bank.packed().implementation.gemm)
      return blocked_forward<P>(blocked(bank, false), bank.view(), x_RK, offsets.data(), epilogue);
  ref::linear_forward<P>(bank.view(), x_RK, offsets.data(), epilogue);
}

template <class P>
void linear_backward_input(const LinearBank<P>& bank, Matrix<const typename P::operand> dy_RN, RowOffsets row_offsets,
                           const BackwardEpilogue<P>& epilogue) {
  TROUPE_ASSERT(dy_RN.cols == bank.out());
  TROUPE_ASSERT(static_cast<bool>(epilogue.out_operand) != static_cast<bool>(epilogue.out_real) || dy_RN.rows == 0);
  const Offsets offsets(row_offsets, bank.num_experts(), dy_RN.rows);
  if constexpr (!std::is_same_v<P, F64>)
    if (bank.packed().implementation.gemm)
      return blocked_backward_input<P>(blocked(bank, true), bank.view(), dy_RN, offsets.data(), epilogue);
  ref::linear_backward_input<P>(bank.view(), dy_RN, offsets.data(), epilogue);
}

template <class P>
void linear_backward_weight(const LinearBank<P>& bank, Matrix<const typename P::operand> dy_RN,
                            Matrix<const typename P::operand> x_RK, RowOffsets row_offsets, typename P::real* dw,
                            typename P::real* db) {
  TROUPE_ASSERT(dy_RN.cols == bank.out() && x_RK.cols == bank.in() && dy_RN.rows == x_RK.rows);
  const Offsets offsets(row_offsets, bank.num_experts(), dy_RN.rows);
  if constexpr (!std::is_same_v<P, F64>)
    if (bank.packed().implementation.gemm)
      return blocked_backward_weight<P>({bank.packed().implementation.gemm(), kernels().epilogue}, bank.view(), dy_RN,
                                        x_RK, offsets.data(), dw, db);
  ref::linear_backward_weight<P>(bank.view(), dy_RN, x_RK, offsets.data(), dw, db);
}

template class LinearBank<F64>;
template class LinearBank<F32>;
template class LinearBank<Bf16>;

#define TROUPE_INSTANTIATE(P)                                                                                       \
  template std::span<const LinearKernels<P>> linear_list<P>();                                                      \
  template void linear_forward<P>(const LinearBank<P>&, Matrix<const P::operand>, RowOffsets,                       \
                                  const ForwardEpilogue<P>&);                                                       \
  template void linear_backward_input<P>(const LinearBank<P>&, Matrix<const P::operand>, RowOffsets,                \
                                         const BackwardEpilogue<P>&);                                               \
  template void linear_backward_weight<P>(const LinearBank<P>&, Matrix<const P::operand>, Matrix<const P::operand>, \
                                          RowOffsets, P::real*, P::real*);
TROUPE_INSTANTIATE(F64)
TROUPE_INSTANTIATE(F32)
TROUPE_INSTANTIATE(Bf16)
#undef TROUPE_INSTANTIATE

}  // namespace troupe
