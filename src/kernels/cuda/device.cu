// The image for the device: every kernel of kernels.inc under its name, its struct as the one parameter.
#include "kernels/cuda/kernels.h"

namespace troupe::cuda {

// Blocks that a multiprocessor shall have room for, where a kernel says so: its registers are limited for that.
template <class Kernel>
constexpr int blocks_at_once() {
  if constexpr (requires { Kernel::kBlocksAtOnce; }) return Kernel::kBlocksAtOnce;
  return 0;
}

#define TROUPE_UNWRAP(...) __VA_ARGS__
#define TROUPE_CUDA_KERNEL(name, type)                                                                                \
  extern "C" __global__ void __launch_bounds__(TROUPE_UNWRAP type ::kThreads, blocks_at_once<TROUPE_UNWRAP type>())   \
      troupe_##name(const __grid_constant__ TROUPE_UNWRAP type kernel) {                                              \
    __shared__ TROUPE_UNWRAP type ::Shared shared;                                                                    \
    kernel.run(Block<TROUPE_UNWRAP type ::kThreads>(), shared);                                                       \
  }
#include "kernels/cuda/kernels.inc"
#undef TROUPE_CUDA_KERNEL

}  // namespace troupe::cuda
