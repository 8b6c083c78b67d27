#include "base/isa.h"

#include <cstdint>
#include <cstdlib>

#include "base/enum_names.h"
#include "base/error.h"
#include "base/nearest.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace troupe {
namespace {

#if defined(__x86_64__)
// Registers that the operating system saves (XCR0).
uint64_t saved_state() {
  uint32_t low = 0, high = 0;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (uint64_t{high} << 32) | low;
}

// Linux grants the 8 KB of tile registers on request (Documentation/arch/x86/xstate.rst).
bool request_tile_permission() {
  constexpr int kArchReqXcompPerm = 0x1023, kXtileData = 18;
  return syscall(SYS_arch_prctl, kArchReqXcompPerm, kXtileData) == 0;
}

Isa detect() {
  constexpr uint64_t kAvxState = 0x6, kAvx512State = 0xE0, kTileState = 0x60000;
  const auto has = [](uint32_t word, int bit) { return (word >> bit & 1u) != 0; };
  uint32_t eax = 0, ebx = 0, ecx = 0, edx = 0;
  if (!__get_cpuid(1, &eax, &ebx, &ecx, &edx)) return Isa::kGeneric;
  const bool fma = has(ecx, 12), osxsave = has(ecx, 27), avx = has(ecx, 28), f16c = has(ecx, 29);
  if (!osxsave || !avx || !fma || !f16c) return Isa::kGeneric;
  const uint64_t state = saved_state();
  if ((state & kAvxState) != kAvxState || !__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx)) return Isa::kGeneric;
  if (!has(ebx, 5)) return Isa::kGeneric;
  const bool avx512 = has(ebx, 16) && has(ebx, 17) && has(ebx, 28) && has(ebx, 30) && has(ebx, 31);
  if (!avx512 || (state & kAvx512State) != kAvx512State) return Isa::kAvx2;
  const bool tiles = has(edx, 22) && has(edx, 24) && (state & kTileState) == kTileState;
  if (!__get_cpuid_count(7, 1, &eax, &ebx, &ecx, &edx) || !has(eax, 5)) return Isa::kAvx512;
  return tiles && request_tile_permission() ? Isa::kAmx : Isa::kAvx512Bf16;
}
#else
Isa detect() { return Isa::kGeneric; }
#endif

}  // namespace

Isa detected_isa() {
  static const Isa isa = detect();
  return isa;
}

Isa choose_isa(const char* requested, Isa detected) {
  if (!requested) return detected;
  const std::optional<Isa> isa = enum_of_name<Isa>(requested);
  if (!isa)
    fail(ErrorCode::kEnvironment,
         "TROUPE_ISA: expected generic, avx2, avx512, avx512bf16 or amx, got '{}' (did you mean {}?)", requested,
         nearest(requested, names_of_enum<Isa>()));
  if (*isa > detected)
    fail(ErrorCode::kEnvironment, "TROUPE_ISA: expected an instruction set of this machine, got {} (best here: {})",
         requested, name_of_enum(detected));
  return *isa;
}

Isa active_isa() {
  static const Isa isa = choose_isa(std::getenv("TROUPE_ISA"), detected_isa());
  return isa;
}

}  // namespace troupe
