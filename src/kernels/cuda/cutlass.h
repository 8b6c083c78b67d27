// Products of all experts in one launch by CUTLASS' kernels for Hopper (wgmma on operands that TMA brings, sums in
// float32, the depth never split: the same bits each time). What they multiply is read on the device (GroupArrays).
// They are templates of NVIDIA's, compiled by nvcc (cutlass.cu) where tools/gpu/headers.sh has put the headers.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "kernels/context.h"
#include "kernels/cuda/grouped_arrays.h"

namespace troupe::cuda {

// Factors are bf16, in memory: A [m, k] and B [n, k] forward, A [m, k] and B [k, n] for inputs' gradients, A [k, m] and
// B [k, n] for those of weights. What starts at multiples of 16 bytes, with rows that do, is taken.
enum class LinearProduct { kForward, kBackwardInput, kBackwardWeight };

struct CutlassProducts {
  LinearProduct product;
  bool is_wide;      // D is float32, else bf16; gradients of weights are, and are added to what is there
  bool short_tiles;  // of 64 rows, else 128; not for gradients of weights, whose tiles are of 128
  bool has_bias;     // added to sums before they are rounded; forward alone
  int32_t num_groups;
  GroupArrays arrays;
};

// Why it computes nothing in this process, or "".
std::string cutlass_unavailable();
// What is wrong with a card of that compute capability, or "".
std::string cutlass_card_problem(int major, int minor);
// In the order of the machine's other work. `places`: what the matrices lie in.
void cutlass_multiply(const CutlassProducts& products, std::span<const void* const> places, Context& context);

// Its version, "" in a program that was built without.
std::string cutlass_version();
// Whether it takes products of these shapes, which the host has; false in a program that was built without.
bool cutlass_takes(const CutlassProducts& products, std::span<const GroupShape> shapes);

// Takes its place, in tests; nullptr: itself again.
using CutlassStandIn = void (*)(const CutlassProducts& products);
void cutlass_use(CutlassStandIn stand_in);

// What nvcc compiles for products of one kind (cutlass_parts.inc); `shapes` of the host may be nullptr.
struct CutlassPart {
  int version;  // 420: 4.2.0
  bool (*takes)(const CutlassProducts& products, const GroupShape* shapes);
  int64_t (*workspace_bytes)(const CutlassProducts& products, int multiprocessors);
  // nullptr, or what went wrong.
  const char* (*launch)(const CutlassProducts& products, int multiprocessors, void* workspace, void* stream);
};
#define TROUPE_CUTLASS_PART(name, product, is_wide, short_tiles) extern const CutlassPart kCutlass##name;
#include "kernels/cuda/cutlass_parts.inc"
#undef TROUPE_CUTLASS_PART

}  // namespace troupe::cuda
