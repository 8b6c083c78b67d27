// Linked into a test program: its rows for CUDA run on the emulated grid, with stand-ins for cuBLASLt and CUTLASS, but
// for runs per instruction set, which has no part in them.
#include <cstdlib>

#include "kernels/cuda/emulator.h"
#include "recorded_cublaslt.h"
#include "recorded_cutlass.h"

namespace troupe::test {
namespace {

[[maybe_unused]] const bool kInUse = [] {
  if (std::getenv("TROUPE_ISA")) return false;
  cuda::set_machine(&cuda::emulator());
  cuda::lt_use(&RecordedLt::api());
  cuda::cutlass_use(RecordedCutlass::compute);
  return RecordedLt::in_use = true;
}();

}  // namespace
}  // namespace troupe::test
