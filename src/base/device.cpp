#include "base/device.h"

namespace troupe {
namespace {

Device in_use = Device::kCpu;

}  // namespace

Device active_device() { return in_use; }
void use_device(Device device) { in_use = device; }

}  // namespace troupe
