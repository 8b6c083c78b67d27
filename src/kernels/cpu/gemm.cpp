#include "kernels/cpu/gemm.h"

namespace troupe::TROUPE_ISA_NAMESPACE {

extern const GemmTable gemm_kernels;
const GemmTable gemm_kernels = {nullptr, nullptr};

}  // namespace troupe::TROUPE_ISA_NAMESPACE
