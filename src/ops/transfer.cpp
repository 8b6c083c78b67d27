#include "ops/transfer.h"

#include "kernels/cuda/machine.h"

namespace troupe {

Memory& staging_memory() { return active_device() == Device::kCpu ? host_memory() : cuda::pinned_memory(); }

}  // namespace troupe
