// Instruction sets for which kernels exist, and the one that this process uses.
#pragma once

#include "troupe/fields.h"

namespace troupe {

// Ascending: each level implies those before it. kGeneric is what the compiler may assume anywhere (SSE2 on x86-64).
//   kAvx2        AVX2, FMA, F16C            kAvx512Bf16  + AVX512-BF16
//   kAvx512      AVX-512 F, BW, CD, DQ, VL  kAmx         + AMX tiles with bf16 products
enum class Isa { kGeneric, kAvx2, kAvx512, kAvx512Bf16, kAmx };
template <>
struct EnumNames<Isa> {
  static constexpr std::array<std::pair<std::string_view, Isa>, 5> values = {{{"generic", Isa::kGeneric},
                                                                              {"avx2", Isa::kAvx2},
                                                                              {"avx512", Isa::kAvx512},
                                                                              {"avx512bf16", Isa::kAvx512Bf16},
                                                                              {"amx", Isa::kAmx}}};
};

// What this processor and operating system allow, whatever TROUPE_ISA says. For kAmx the kernel's permission to use
// tiles has been obtained for the whole process.
Isa detected_isa();

// The level in use: TROUPE_ISA if set, else detected_isa(). Throws kEnvironment if TROUPE_ISA names no level or one
// that this machine lacks. Decided on the first call; call it before threads start, since AMX permission is inherited.
Isa active_isa();

// active_isa() for a given value of TROUPE_ISA (nullptr: unset) and machine; separate for tests.
Isa choose_isa(const char* requested, Isa detected);

}  // namespace troupe
