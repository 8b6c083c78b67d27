// driver_api.h against the toolkit's cuda.h, where CMake found one; nothing else is made of it.
#include "kernels/cuda/driver_api.h"

#if __has_include(<cuda.h>)
#include <cuda.h>

#include <type_traits>

namespace troupe::cuda::driver {
namespace {

// One of our types stands for one of theirs: the same, or of the same size and kind (handles, enumerations).
template <class Ours, class Theirs>
constexpr bool kStandsFor = [] {
  if constexpr (std::is_pointer_v<Ours> && std::is_pointer_v<Theirs>)
    return std::is_const_v<std::remove_pointer_t<Ours>> == std::is_const_v<std::remove_pointer_t<Theirs>>;
  else
    return sizeof(Ours) == sizeof(Theirs) && std::is_pointer_v<Ours> == std::is_pointer_v<Theirs>;
}();

template <class Ours, class Theirs>
constexpr bool kSameCall = false;
template <class... Ours, class... Theirs>
constexpr bool kSameCall<Result (*)(Ours...), CUresult (*)(Theirs...)> = [] {
  if constexpr (sizeof...(Ours) == sizeof...(Theirs)) return (kStandsFor<Ours, Theirs> && ...);
  return false;
}();

#define TROUPE_DRIVER(name, symbol, parameters) \
  static_assert(kSameCall<decltype(Api::name), decltype(&::symbol)>, #symbol);
TROUPE_DRIVER_FUNCTIONS
#undef TROUPE_DRIVER

static_assert(int{kHost} == CU_MEMORYTYPE_HOST && int{kDevice} == CU_MEMORYTYPE_DEVICE && CUDA_SUCCESS == 0);
static_assert(kNoDevice == CUDA_ERROR_NO_DEVICE);
static_assert(int{kMultiprocessors} == CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT);
static_assert(int{kMajor} == CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR);
static_assert(int{kMinor} == CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR);
static_assert(kStreamNonBlocking == static_cast<unsigned>(CU_STREAM_NON_BLOCKING));
static_assert(kAttachGlobal == static_cast<unsigned>(CU_MEM_ATTACH_GLOBAL));
static_assert(kEventWithoutTime == static_cast<unsigned>(CU_EVENT_DISABLE_TIMING));
static_assert(sizeof(Copy2D) == sizeof(CUDA_MEMCPY2D) &&
              offsetof(Copy2D, src_host) == offsetof(CUDA_MEMCPY2D, srcHost));
static_assert(offsetof(Copy2D, src_device) == offsetof(CUDA_MEMCPY2D, srcDevice));
static_assert(offsetof(Copy2D, src_pitch) == offsetof(CUDA_MEMCPY2D, srcPitch));
static_assert(offsetof(Copy2D, dst_type) == offsetof(CUDA_MEMCPY2D, dstMemoryType));
static_assert(offsetof(Copy2D, dst_device) == offsetof(CUDA_MEMCPY2D, dstDevice));
static_assert(offsetof(Copy2D, dst_pitch) == offsetof(CUDA_MEMCPY2D, dstPitch));
static_assert(offsetof(Copy2D, width) == offsetof(CUDA_MEMCPY2D, WidthInBytes));

}  // namespace
}  // namespace troupe::cuda::driver
#endif
