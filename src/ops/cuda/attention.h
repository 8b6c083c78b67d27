// What our own attention on the device refuses.
#pragma once

#include <cstdint>
#include <string>

namespace troupe {

// Heads of more columns than its kernels have room for; else "".
std::string refuses_wide_heads(int64_t C);

}  // namespace troupe
