#include "ops/cuda/grouped.h"

#include <fmt/core.h>

#include <string_view>

#include "kernels/cuda/grouped.h"
#include "kernels/cuda/switches.h"
#include "ops/cuda/linear.h"

namespace troupe {
namespace {

// Multiplications of an expert's product, on average. From there on a library's product takes longer than its launch
// and is faster for itself: 64 experts of 1,024 rows times 768 x 3,072 ran at 267 to 222 thousand tokens/s on an H200.
// The bound is what our kernel multiplies there (60e12 a second) in the 4 us of a launch.
constexpr int64_t kLargeProduct = int64_t{1} << 28;

template <class P>
std::string refusal(const LinearBank<P>& bank, const RowOffsets& offsets, int64_t rows, bool starts_fit) {
  const std::string_view set = cuda::value_of(cuda::kGroupedSwitch);
  if (set == "0") return fmt::format("{} is 0", cuda::kGroupedSwitch.name);
  if (offsets.empty()) return "it is one map over all rows";
  if (set != "1" && rows / bank.num_experts() * bank.in() * bank.out() >= kLargeProduct)
    return fmt::format("a product of an expert has {} multiplications and more", kLargeProduct);
  if (bank.in() == 0 || bank.in() % 8 != 0 || bank.out() == 0 || bank.out() % 8 != 0 || !starts_fit)
    return "tensor cores want multiples of 8 that start at multiples of 16 bytes";
  return {};
}

}  // namespace

template <class P>
std::string refused_by_grouped(const LinearForward<P>& task) {
  return refusal(task.bank, task.offsets, task.x_RK.rows, rows_aligned(task.x_RK));
}

template <class P>
std::string refused_by_grouped(const LinearBackwardInput<P>& task) {
  return refusal(task.bank, task.offsets, task.dy_RN.rows, rows_aligned(task.dy_RN));
}

template <class P>
std::string refused_by_grouped(const LinearBackwardWeight<P>& task) {
  return refusal(task.bank, task.offsets, task.dy_RN.rows, rows_aligned(task.dy_RN, task.x_RK));
}

template <class P>
void by_grouped(const LinearForward<P>& task, Context& context) {
  const LinearBank<P>& bank = task.bank;
  const DeviceOffsets offsets(task.offsets, bank.num_experts(), task.x_RK.rows, context);
  cuda::launch(cuda::GroupedForwardKernel{cuda::view(task.x_RK), offsets.tiles, bank.out(), bank.device_operands(),
                                          bank.view().bias, device_store(task.epilogue)});
}

template <class P>
void by_grouped(const LinearBackwardInput<P>& task, Context& context) {
  const LinearBank<P>& bank = task.bank;
  const DeviceOffsets offsets(task.offsets, bank.num_experts(), task.dy_RN.rows, context);
  cuda::launch(cuda::GroupedBackwardInputKernel{cuda::view(task.dy_RN), offsets.tiles, bank.in(),
                                                bank.device_operands(), device_store(task.epilogue)});
}

template <class P>
void by_grouped(const LinearBackwardWeight<P>& task, Context& context) {
  const DeviceOffsets offsets(task.offsets, task.bank.num_experts(), task.dy_RN.rows, context);
  cuda::launch(cuda::GroupedBackwardWeightKernel{cuda::view(task.dy_RN), cuda::view(task.x_RK), offsets.tiles, task.dw,
                                                 task.db});
}

#define TROUPE_INSTANTIATE(Op)                              \
  template std::string refused_by_grouped(const Op<Bf16>&); \
  template void by_grouped(const Op<Bf16>&, Context&);
TROUPE_INSTANTIATE(LinearForward)
TROUPE_INSTANTIATE(LinearBackwardInput)
TROUPE_INSTANTIATE(LinearBackwardWeight)
#undef TROUPE_INSTANTIATE

}  // namespace troupe
