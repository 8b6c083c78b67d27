#include "ops/cuda/cutlass.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <limits>

#include "kernels/cuda/switches.h"
#include "ops/cuda/linear.h"

namespace troupe {
namespace {

using cuda::LinearProduct, cuda::GroupPlaces;

constexpr const char* kCutlassUnaligned = "CUTLASS wants multiples of 8 that start at multiples of 16 bytes";

template <class P>
std::string cutlass_refusal(const LinearBank<P>& bank, const RowOffsets& offsets, int64_t rows, bool starts_fit) {
  if (cuda::value_of(cuda::kGroupedSwitch) != cuda::kByCutlass)
    return fmt::format("{} is not {}", cuda::kGroupedSwitch.name, cuda::kByCutlass);
  if (offsets.empty()) return "it is one map over all rows";
  if (bank.in() == 0 || bank.in() % 8 != 0 || bank.out() == 0 || bank.out() % 8 != 0 || !starts_fit)
    return kCutlassUnaligned;
  constexpr int64_t kMost = std::numeric_limits<int32_t>::max();
  if (std::max({rows, bank.in(), bank.out()}) > kMost) return "CUTLASS counts in 32 bits";
  return {};
}

// Matrices of experts in the rows of `matrix`, or in `weights` [E, rows of one, stride].
template <class T>
GroupPlaces places_of(const Matrix<T>& matrix) {
  return {matrix.data, matrix.stride * static_cast<int64_t>(sizeof(T)), 0, matrix.stride};
}
template <class T>
GroupPlaces places_of(const T* weights, int64_t rows, int64_t stride) {
  return {weights, 0, rows * stride * static_cast<int64_t>(sizeof(T)), stride};
}

// What a product of all experts is made of.
struct GroupedTask {
  LinearProduct product;
  bool is_wide;
  cuda::GroupShape shape;  // but for the rows
  GroupPlaces a, b, d;
  const float* bias = nullptr;
};

template <class P>
void multiply_groups(const LinearBank<P>& bank, const RowOffsets& row_offsets, int64_t rows, const GroupedTask& task,
                     Context& context) {
  if (rows == 0) return;
  const int64_t E = bank.num_experts();
  const DeviceOffsets offsets(row_offsets, E, rows, context);
  const Context::Lease lease(context, cuda::GroupArrays::bytes(E));
  const auto arrays = cuda::GroupArrays::at(lease.data(), E);
  const bool rows_are_depth = task.product == LinearProduct::kBackwardWeight;
  cuda::launch(
      cuda::GroupArraysKernel{offsets.tiles, task.shape, rows_are_depth, task.a, task.b, task.d, task.bias, arrays});
  const std::array<const void*, 5> places = {task.a.first, task.b.first, task.d.first, task.bias, lease.data()};
  cuda::cutlass_multiply({.product = task.product,
                          .is_wide = task.is_wide,
                          .short_tiles = !rows_are_depth && rows / E < kShortTileRows,
                          .has_bias = task.bias != nullptr,
                          .num_groups = static_cast<int32_t>(E),
                          .arrays = arrays},
                         places, context);
}

// The matrix of sums: bf16 before an activation, else what is asked for.
template <class Epilogue, class Sums>
GroupedTask with_sums(GroupedTask task, const Epilogue& epilogue, const Sums& sums) {
  task.is_wide = !sums;
  task.d = sums ? places_of(sums) : places_of(epilogue.out_real);
  return task;
}

int32_t narrow(int64_t size) { return static_cast<int32_t>(size); }

}  // namespace

template <class P>
std::string refused_by_cutlass(const LinearForward<P>& task) {
  const ForwardEpilogue<P>& epilogue = task.epilogue;
  const bool starts_fit = aligned(task.x_RK) && aligned(epilogue.out_operand) && aligned(epilogue.out_real) &&
                          aligned(epilogue.pre_activation) && rows_aligned(task.bank.view().bias, 0);
  if (std::string reason = cutlass_refusal(task.bank, task.offsets, task.x_RK.rows, starts_fit); !reason.empty())
    return reason;
  return rounds_sums(epilogue) || stores_sums(epilogue) ? "" : "more than an activation follows the sums";
}

template <class P>
std::string refused_by_cutlass(const LinearBackwardInput<P>& task) {
  const BackwardEpilogue<P>& epilogue = task.epilogue;
  const bool starts_fit = aligned(task.dy_RN) && aligned(epilogue.out_operand) && aligned(epilogue.out_real);
  if (std::string reason = cutlass_refusal(task.bank, task.offsets, task.dy_RN.rows, starts_fit); !reason.empty())
    return reason;
  return rounds_sums(epilogue) || stores_sums(epilogue) ? "" : "sums in float32 are followed by a derivative";
}

template <class P>
std::string refused_by_cutlass(const LinearBackwardWeight<P>& task) {
  return cutlass_refusal(task.bank, task.offsets, task.dy_RN.rows,
                         aligned(task.dy_RN) && aligned(task.x_RK) && rows_aligned(task.dw, 0));
}

template <class P>
void by_cutlass(const LinearForward<P>& task, Context& context) {
  const LinearBank<P>& bank = task.bank;
  const int64_t N = bank.out(), K = bank.in();
  const Matrix<bf16> sums = rounded_sums(task.epilogue);
  multiply_groups(bank, task.offsets, task.x_RK.rows,
                  with_sums({.product = LinearProduct::kForward,
                             .shape = {0, narrow(N), narrow(K)},
                             .a = places_of(task.x_RK),
                             .b = places_of(bank.device_operands(), N, K),
                             .bias = bank.view().bias},
                            task.epilogue, sums),
                  context);
  if (rounds_sums(task.epilogue)) activate_sums(task.epilogue);
}

template <class P>
void by_cutlass(const LinearBackwardInput<P>& task, Context& context) {
  const LinearBank<P>& bank = task.bank;
  const int64_t N = bank.out(), K = bank.in();
  multiply_groups(bank, task.offsets, task.dy_RN.rows,
                  with_sums({.product = LinearProduct::kBackwardInput,
                             .shape = {0, narrow(K), narrow(N)},
                             .a = places_of(task.dy_RN),
                             .b = places_of(bank.device_operands(), N, K)},
                            task.epilogue, task.epilogue.out_operand),
                  context);
  if (rounds_sums(task.epilogue)) derive_sums(task, context);
}

template <class P>
void by_cutlass(const LinearBackwardWeight<P>& task, Context& context) {
  const LinearBank<P>& bank = task.bank;
  const int64_t N = bank.out(), K = bank.in();
  multiply_groups(bank, task.offsets, task.dy_RN.rows,
                  {.product = LinearProduct::kBackwardWeight,
                   .is_wide = true,
                   .shape = {narrow(N), narrow(K), 0},
                   .a = places_of(task.dy_RN),
                   .b = places_of(task.x_RK),
                   .d = places_of(task.dw, N, K)},
                  context);
  if (!task.db) return;
  const DeviceOffsets offsets(task.offsets, bank.num_experts(), task.dy_RN.rows, context);
  add_bias_gradient(task.dy_RN, offsets.tiles, task.db, context);
}

#define TROUPE_INSTANTIATE(Op)                              \
  template std::string refused_by_cutlass(const Op<Bf16>&); \
  template void by_cutlass(const Op<Bf16>&, Context&);
TROUPE_INSTANTIATE(LinearForward)
TROUPE_INSTANTIATE(LinearBackwardInput)
TROUPE_INSTANTIATE(LinearBackwardWeight)
#undef TROUPE_INSTANTIATE

}  // namespace troupe
