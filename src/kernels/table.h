// The kernels of one instruction set as function pointers; ops call kernels().group.function(...).
// Headers that cpu/*.cpp include hold types only, no functions that are not static or in the level's namespace.
#pragma once

#include "base/isa.h"
#include "kernels/cpu/adam.h"
#include "kernels/cpu/attention.h"
#include "kernels/cpu/epilogue.h"
#include "kernels/cpu/functions.h"
#include "kernels/cpu/gate.h"
#include "kernels/cpu/gemm.h"
#include "kernels/cpu/layer_norm.h"
#include "kernels/cpu/logits.h"
#include "kernels/cpu/muon.h"
#include "kernels/cpu/peak.h"
#include "kernels/cpu/rms_norm.h"
#include "kernels/cpu/rotary.h"
#include "kernels/cpu/rows.h"

namespace troupe {

struct KernelTable {
#define TROUPE_KERNELS(member, Type) const Type& member;
#include "kernels/cpu/kernels.inc"
#undef TROUPE_KERNELS
};

const KernelTable& kernels();         // of active_isa()
const KernelTable& kernels(Isa isa);  // of a given level, which the machine must have (at most detected_isa())

}  // namespace troupe
