// The plain products on the device.
#include "ops/linear.h"

#include "ops/cuda/linear.h"
#include "ops/cuda/row.h"

namespace troupe {

namespace {

bool as_many_each(std::span<const int64_t> offsets) {
  for (size_t e = 0; e < offsets.size(); ++e)
    if (offsets[e] != static_cast<int64_t>(e) * offsets[1]) return false;
  return true;
}

}  // namespace

DeviceOffsets::DeviceOffsets(const RowOffsets& offsets, int64_t num_experts, int64_t rows, Context& context)
    : lease_(context, (num_experts + 1) * static_cast<int64_t>(sizeof(int64_t))),
      tiles{offsets.on_device              ? offsets.on_device
            : as_many_each(offsets.here()) ? nullptr
                                           : lease_.as<int64_t>(),
            num_experts, rows} {
  if (!tiles.offsets || tiles.offsets == offsets.on_device) return;
  cuda::copy(offsets.here().data(), lease_.as<int64_t>(), num_experts + 1);
}

void activate_sums(const ForwardEpilogue<Bf16>& epilogue) {
  const Matrix<const bf16> sums = rounded_sums(epilogue);
  cuda::ActivationForwardKernel activate{epilogue.activation, cuda::view(sums),
                                         cuda::view(epilogue.out_operand.rows_from(0, sums.rows))};
  cuda::flatten(activate.z, activate.out);
  cuda::launch(activate);
}

void derive_sums(const LinearBackwardInput<Bf16>& task, Context& context) {
  const BackwardEpilogue<Bf16>& epilogue = task.epilogue;
  const Matrix<bf16> sums = epilogue.out_operand;
  if (BiasSums<float>* const sums_of = epilogue.bias_sums; sums_of && sums_of->db) {
    const DeviceOffsets offsets(task.offsets, task.bank.num_experts(), sums.rows, context);
    sum_tiles(
        cuda::ActivationBackwardSumsKernel{epilogue.activation, cuda::view(epilogue.pre_activation),
                                           cuda::view(Matrix<const bf16>(sums)), cuda::view(sums), offsets.tiles,
                                           nullptr},
        sums.cols, sums_of->db, context);
    sums_of->added = true;
    return;
  }
  cuda::ActivationBackwardKernel derive{epilogue.activation,
                                        cuda::view(epilogue.pre_activation.rows_from(0, sums.rows)),
                                        cuda::view(Matrix<const bf16>(sums)), cuda::view(sums)};
  cuda::flatten(derive.z, derive.dy, derive.dz);
  cuda::launch(derive);
}

template <class P>
void on_cuda(const LinearForward<P>& task, Context& context) {
  const DeviceOffsets offsets(task.offsets, task.bank.num_experts(), task.x_RK.rows, context);
  cuda::launch(cuda::LinearForwardKernel<typename P::operand>{cuda::view(task.x_RK), offsets.tiles, task.bank.out(),
                                                              task.bank.view().weight, task.bank.view().bias,
                                                              device_store(task.epilogue)});
}

template <class P>
void on_cuda(const LinearBackwardInput<P>& task, Context& context) {
  const DeviceOffsets offsets(task.offsets, task.bank.num_experts(), task.dy_RN.rows, context);
  cuda::launch(cuda::LinearBackwardInputKernel<typename P::operand>{
      cuda::view(task.dy_RN), offsets.tiles, task.bank.in(), task.bank.view().weight, device_store(task.epilogue)});
}

template <class P>
void on_cuda(const LinearBackwardWeight<P>& task, Context& context) {
  using operand = typename P::operand;
  const int64_t E = task.bank.num_experts();
  const DeviceOffsets offsets(task.offsets, E, task.dy_RN.rows, context);
  const cuda::View<const operand> dy = cuda::view(task.dy_RN), x = cuda::view(task.x_RK);
  cuda::launch(cuda::LinearBackwardWeightKernel<operand>{dy, x, offsets.tiles, task.dw});
  if (task.db) add_bias_gradient<operand>(task.dy_RN, offsets.tiles, task.db, context);
}

template <class P>
void on_cuda(const StoreForward<P>& task, Context&) {
  cuda::launch(cuda::ForwardStoreKernel<typename P::operand>{cuda::view(task.z_RN), nullptr,
                                                             device_store(task.epilogue), 0});
}

template <class P>
void on_cuda(const StoreBackwardInput<P>& task, Context&) {
  cuda::launch(
      cuda::BackwardStoreKernel<typename P::operand>{cuda::view(task.dx_RK), device_store(task.epilogue), 0});
}

#define TROUPE_INSTANTIATE(P)                                      \
  template void on_cuda(const LinearForward<P>&, Context&);        \
  template void on_cuda(const LinearBackwardInput<P>&, Context&);  \
  template void on_cuda(const LinearBackwardWeight<P>&, Context&); \
  template void on_cuda(const StoreForward<P>&, Context&);         \
  template void on_cuda(const StoreBackwardInput<P>&, Context&);
TROUPE_INSTANTIATE(F32)
TROUPE_INSTANTIATE(Bf16)
#undef TROUPE_INSTANTIATE

}  // namespace troupe
