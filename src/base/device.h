// Where tensors lie and ops run: a property of the process, as the instruction set is (base/isa.h).
#pragma once

#include <string_view>

namespace troupe {

enum class Device { kCpu, kCuda };

constexpr std::string_view device_name(Device device) { return device == Device::kCpu ? "cpu" : "cuda"; }

// The device in use: the processor, unless use_device() said otherwise before the first op.
Device active_device();
void use_device(Device device);

}  // namespace troupe
