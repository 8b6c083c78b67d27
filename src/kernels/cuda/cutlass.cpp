#include "kernels/cuda/cutlass.h"

#include <fmt/core.h>

#include "base/error.h"
#include "kernels/cuda/machine.h"

#ifdef TROUPE_CUTLASS
#include <cuda_runtime_api.h>
#endif

namespace troupe::cuda {
namespace {

CutlassStandIn cutlass_stand_in = nullptr;

#ifdef TROUPE_CUTLASS

const CutlassPart& part_of(const CutlassProducts& products) {
#define TROUPE_CUTLASS_PART(name, of_product, wide, with_short_tiles)              \
  if (products.product == LinearProduct::of_product && products.is_wide == wide && \
      products.short_tiles == with_short_tiles)                                    \
    return kCutlass##name;
#include "kernels/cuda/cutlass_parts.inc"
#undef TROUPE_CUTLASS_PART
  fail(ErrorCode::kInternal, "CUTLASS: expected products of cutlass_parts.inc, got others");
}

// The card of machine(), as the CUDA runtime that CUTLASS launches by sees it.
struct CutlassCard {
  int multiprocessors = 0;
  std::string problem;

  CutlassCard() { problem = ask(); }

 private:
  std::string ask() {
    machine()->stream();  // this thread is in the card's context
    int device = 0, major = 0, minor = 0;
    cudaError_t result = cudaGetDevice(&device);
    for (const auto& [attribute, value] : {std::pair{cudaDevAttrComputeCapabilityMajor, &major},
                                           {cudaDevAttrComputeCapabilityMinor, &minor},
                                           {cudaDevAttrMultiProcessorCount, &multiprocessors}})
      if (result == cudaSuccess) result = cudaDeviceGetAttribute(value, attribute, device);
    return result == cudaSuccess ? cutlass_card_problem(major, minor)
                                 : fmt::format("the CUDA runtime finds no card: {}", cudaGetErrorString(result));
  }
};

const CutlassCard& cutlass_card() {
  static const CutlassCard card;
  return card;
}

#endif

}  // namespace

std::string cutlass_card_problem(int major, int minor) {
  return major == 9 ? "" : fmt::format("expected a card of compute capability 9.x, got {}.{}", major, minor);
}

std::string cutlass_unavailable() {
  if (!machine()) return unavailable();
  if (cutlass_stand_in) return {};
  if (!machine()->stream()) return "the grid is emulated";
#ifdef TROUPE_CUTLASS
  return cutlass_card().problem;
#else
  return "this program was built without its headers (tools/gpu/headers.sh)";
#endif
}

std::string cutlass_version() {
#ifdef TROUPE_CUTLASS
  const int version = kCutlassBackwardWeight.version;
  return fmt::format("{}.{}.{}", version / 100, version / 10 % 10, version % 10);
#else
  return {};
#endif
}

bool cutlass_takes([[maybe_unused]] const CutlassProducts& products,
                   [[maybe_unused]] std::span<const GroupShape> shapes) {
#ifdef TROUPE_CUTLASS
  return part_of(products).takes(products, shapes.data());
#else
  return false;
#endif
}

void cutlass_multiply(const CutlassProducts& products, std::span<const void* const> places,
                      [[maybe_unused]] Context& context) {
  const auto asked = [&] { machine()->asked("CUTLASS", places); };
  if (cutlass_stand_in) return cutlass_stand_in(products), asked();
#ifdef TROUPE_CUTLASS
  const CutlassPart& part = part_of(products);
  const int multiprocessors = cutlass_card().multiprocessors;
  const Context::Lease workspace(context, part.workspace_bytes(products, multiprocessors));
  if (const char* const problem = part.launch(products, multiprocessors, workspace.data(), machine()->stream()))
    fail(ErrorCode::kEnvironment, "CUTLASS: products of {} experts: expected success, got {}", products.num_groups,
         problem);
  asked();
#endif
}

void cutlass_use(CutlassStandIn stand_in) { cutlass_stand_in = stand_in; }

}  // namespace troupe::cuda
