// Where tensors lie and ops run: a property of the process, as the instruction set is (base/isa.h).
#pragma once

#include <array>
#include <string_view>
#include <utility>

#include "troupe/fields.h"

namespace troupe {

enum class Device { kCpu, kCuda };

template <>
struct EnumNames<Device> {
  static constexpr std::array<std::pair<std::string_view, Device>, 2> values = {
      {{"cpu", Device::kCpu}, {"cuda", Device::kCuda}}};
};

// The device in use: the processor, unless use_device() said otherwise before the first op.
Device active_device();
void use_device(Device device);

}  // namespace troupe
