// What of the CUDA driver's interface is used, in declarations of our own, so that the program builds without a toolkit
// and runs without a driver. Where the real header is found, driver_api_check.cpp holds one against the other.
#pragma once

#include <cstddef>
#include <cstdint>

namespace troupe::cuda::driver {

using Result = int;                                                        // CUresult; 0 is success
constexpr Result kNoDevice = 100;                                          // CUDA_ERROR_NO_DEVICE
using Device = int;                                                        // CUdevice
using Pointer = uint64_t;                                                  // CUdeviceptr
using Context = void*;                                                     // CUcontext
using Stream = void*;                                                      // CUstream
using Module = void*;                                                      // CUmodule
using Function = void*;                                                    // CUfunction
using Event = void*;                                                       // CUevent
enum MemoryType : int { kHost = 1, kDevice = 2 };                          // CUmemorytype
enum Attribute : int { kMultiprocessors = 16, kMajor = 75, kMinor = 76 };  // CUdevice_attribute
constexpr unsigned kStreamNonBlocking = 1;
constexpr unsigned kAttachGlobal = 1;  // CUmemAttach_flags
constexpr unsigned kEventWithoutTime = 2;

// CUDA_MEMCPY2D
struct Copy2D {
  size_t src_x = 0, src_y = 0;
  MemoryType src_type = kHost;
  const void* src_host = nullptr;
  Pointer src_device = 0;
  void* src_array = nullptr;
  size_t src_pitch = 0;
  size_t dst_x = 0, dst_y = 0;
  MemoryType dst_type = kHost;
  void* dst_host = nullptr;
  Pointer dst_device = 0;
  void* dst_array = nullptr;
  size_t dst_pitch = 0;
  size_t width = 0, height = 0;
};

// TROUPE_DRIVER(name, symbol, parameters): functions that return a Result.
#define TROUPE_DRIVER_FUNCTIONS                                                                                 \
  TROUPE_DRIVER(init, cuInit, (unsigned))                                                                       \
  TROUPE_DRIVER(driver_version, cuDriverGetVersion, (int*))                                                     \
  TROUPE_DRIVER(device_count, cuDeviceGetCount, (int*))                                                         \
  TROUPE_DRIVER(device, cuDeviceGet, (Device*, int))                                                            \
  TROUPE_DRIVER(device_name, cuDeviceGetName, (char*, int, Device))                                             \
  TROUPE_DRIVER(device_place, cuDeviceGetPCIBusId, (char*, int, Device))                                        \
  TROUPE_DRIVER(device_memory, cuDeviceTotalMem_v2, (size_t*, Device))                                          \
  TROUPE_DRIVER(device_attribute, cuDeviceGetAttribute, (int*, Attribute, Device))                              \
  TROUPE_DRIVER(retain_context, cuDevicePrimaryCtxRetain, (Context*, Device))                                   \
  TROUPE_DRIVER(release_context, cuDevicePrimaryCtxRelease_v2, (Device))                                        \
  TROUPE_DRIVER(set_context, cuCtxSetCurrent, (Context))                                                        \
  TROUPE_DRIVER(memory_info, cuMemGetInfo_v2, (size_t*, size_t*))                                               \
  TROUPE_DRIVER(allocate, cuMemAlloc_v2, (Pointer*, size_t))                                                    \
  TROUPE_DRIVER(allocate_managed, cuMemAllocManaged, (Pointer*, size_t, unsigned))                              \
  TROUPE_DRIVER(allocate_host, cuMemHostAlloc, (void**, size_t, unsigned))                                      \
  TROUPE_DRIVER(free, cuMemFree_v2, (Pointer))                                                                  \
  TROUPE_DRIVER(fill, cuMemsetD8Async, (Pointer, unsigned char, size_t, Stream))                                \
  TROUPE_DRIVER(copy_to_device, cuMemcpyHtoDAsync_v2, (Pointer, const void*, size_t, Stream))                   \
  TROUPE_DRIVER(copy_to_host, cuMemcpyDtoHAsync_v2, (void*, Pointer, size_t, Stream))                           \
  TROUPE_DRIVER(copy_on_device, cuMemcpyDtoDAsync_v2, (Pointer, Pointer, size_t, Stream))                       \
  TROUPE_DRIVER(copy_rows, cuMemcpy2DAsync_v2, (const Copy2D*, Stream))                                         \
  TROUPE_DRIVER(create_stream, cuStreamCreate, (Stream*, unsigned))                                             \
  TROUPE_DRIVER(wait, cuStreamSynchronize, (Stream))                                                            \
  TROUPE_DRIVER(create_event, cuEventCreate, (Event*, unsigned))                                                \
  TROUPE_DRIVER(record_event, cuEventRecord, (Event, Stream))                                                   \
  TROUPE_DRIVER(wait_for_event, cuEventSynchronize, (Event))                                                    \
  TROUPE_DRIVER(load_module, cuModuleLoadData, (Module*, const void*))                                          \
  TROUPE_DRIVER(function, cuModuleGetFunction, (Function*, Module, const char*))                                \
  TROUPE_DRIVER(                                                                                                \
      launch, cuLaunchKernel,                                                                                   \
      (Function, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, Stream, void**, void**)) \
  TROUPE_DRIVER(error_name, cuGetErrorName, (Result, const char**))                                             \
  TROUPE_DRIVER(error_text, cuGetErrorString, (Result, const char**))

struct Api {
#define TROUPE_DRIVER(name, symbol, parameters) Result(*name) parameters = nullptr;
  TROUPE_DRIVER_FUNCTIONS
#undef TROUPE_DRIVER
};

}  // namespace troupe::cuda::driver
