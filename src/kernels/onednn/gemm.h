// oneDNN as a provider of block products: it serves processors and types for which no kernel of ours exists. Blocks are
// packed to plain row-major float32 and multiplied by dnnl_sgemm inside our parallel region, hence on one thread.
#pragma once

#include <string>

#include "kernels/cpu/gemm.h"

namespace troupe::onednn {

const char* unavailable_reason();  // nullptr if usable, e.g. "not built with oneDNN"
std::string version();             // "2.6.3"; "" in a build without oneDNN
const GemmKernels& gemm_f32();     // operands float32
const GemmKernels& gemm_bf16();    // operands bf16, converted to float32 when packed

}  // namespace troupe::onednn
