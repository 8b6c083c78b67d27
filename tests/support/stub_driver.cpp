// A stand-in for NVIDIA's driver with one card that computes nothing. STUB_DRIVER is the function that fails, as
// "cuInit=100"; without it all succeed.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include "kernels/cuda/driver_api.h"

using namespace troupe::cuda::driver;

namespace {

Result result_of(const std::string& function) {
  const char* const fails = std::getenv("STUB_DRIVER");
  if (!fails || std::strncmp(fails, (function + "=").c_str(), function.size() + 1) != 0) return 0;
  return std::atoi(fails + function.size() + 1);
}

}  // namespace

extern "C" {
#define STUB(function, parameters, work) \
  Result function parameters {           \
    work;                                \
    return result_of(#function);         \
  }
STUB(cuInit, (unsigned), )
STUB(cuDriverGetVersion, (int* version), *version = 13000)
STUB(cuDeviceGetCount, (int* count), *count = 1)
STUB(cuDeviceGet, (Device * device, int), *device = 0)
STUB(cuDeviceGetName, (char* name, int size, Device), std::strncpy(name, "Stub", static_cast<size_t>(size)))
STUB(cuDeviceGetPCIBusId, (char* place, int size, Device), std::strncpy(place, "0000:01:00.0", static_cast<size_t>(size)))
STUB(cuDeviceTotalMem_v2, (size_t * bytes, Device), *bytes = size_t{1} << 30)
STUB(cuDeviceGetAttribute, (int* value, Attribute, Device), *value = 9)
STUB(cuDevicePrimaryCtxRetain, (Context * context, Device), *context = nullptr)
STUB(cuDevicePrimaryCtxRelease_v2, (Device), std::fputs("stub: a context is released\n", stderr))
STUB(cuCtxSetCurrent, (Context), )
STUB(cuMemGetInfo_v2, (size_t * free, size_t* total), *free = 0; *total = size_t{1} << 30)
STUB(cuMemAlloc_v2, (Pointer*, size_t), return 2)  // CUDA_ERROR_OUT_OF_MEMORY
STUB(cuMemAllocManaged, (Pointer*, size_t, unsigned), return 2)
STUB(cuMemHostAlloc, (void**, size_t, unsigned), return 2)
STUB(cuMemFree_v2, (Pointer), )
STUB(cuMemsetD8Async, (Pointer, unsigned char, size_t, Stream), )
STUB(cuMemcpyHtoDAsync_v2, (Pointer, const void*, size_t, Stream), )
STUB(cuMemcpyDtoHAsync_v2, (void*, Pointer, size_t, Stream), )
STUB(cuMemcpyDtoDAsync_v2, (Pointer, Pointer, size_t, Stream), )
STUB(cuMemcpy2DAsync_v2, (const Copy2D*, Stream), )
STUB(cuStreamCreate, (Stream * stream, unsigned), *stream = nullptr)
STUB(cuStreamSynchronize, (Stream), )
STUB(cuEventCreate, (Event * event, unsigned), *event = nullptr)
STUB(cuEventRecord, (Event, Stream), )
STUB(cuEventSynchronize, (Event), )
STUB(cuModuleLoadData, (Module * module, const void*), *module = nullptr)
STUB(cuModuleGetFunction, (Function * function, Module, const char*), *function = nullptr)
STUB(cuLaunchKernel,
     (Function, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, Stream, void**, void**), )
STUB(cuGetErrorName, (Result, const char** name), *name = "CUDA_ERROR_STUB")
STUB(cuGetErrorString, (Result, const char** text), *text = "as the test asked")
}
