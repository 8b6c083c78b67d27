// The table of one instruction set.
#include "kernels/table.h"

namespace troupe::TROUPE_ISA_NAMESPACE {

#define TROUPE_KERNELS(member, Type) extern const Type member##_kernels;
#include "kernels/cpu/kernels.inc"
#undef TROUPE_KERNELS

extern const KernelTable table;
const KernelTable table = {
#define TROUPE_KERNELS(member, Type) member##_kernels,
#include "kernels/cpu/kernels.inc"
#undef TROUPE_KERNELS
};

}  // namespace troupe::TROUPE_ISA_NAMESPACE
