// Stands in for gemm.cpp in a build without oneDNN: refuses.
#include "base/error.h"
#include "kernels/onednn/gemm.h"

namespace troupe::onednn {

const char* unavailable_reason() { return "not built with oneDNN"; }
std::string version() { return {}; }
const GemmKernels& gemm_f32() { fail(ErrorCode::kInternal, "oneDNN: {}", unavailable_reason()); }
const GemmKernels& gemm_bf16() { fail(ErrorCode::kInternal, "oneDNN: {}", unavailable_reason()); }

}  // namespace troupe::onednn
