// Which block products this instruction set has. Operands that it cannot multiply as bf16 are widened to float32 when
// packed. Block sizes: A blocks and what is kept of C live in L2, a panel of B over k_block in L1.
#include "kernels/cpu/gemm.h"

// Outside of x86-64 level 0 is one vector unit or another that these blocks were never measured on.
#if TROUPE_ISA_LEVEL >= 1 || defined(__x86_64__)
#define TROUPE_REGISTER_KERNELS
#endif

#ifdef TROUPE_REGISTER_KERNELS
#include "kernels/cpu/gemm_registers.h"
#endif
#if TROUPE_ISA_LEVEL >= 4
#include "kernels/cpu/gemm_tiles.h"
#endif

namespace troupe::TROUPE_ISA_NAMESPACE {

extern const GemmTable gemm_kernels;

#ifndef TROUPE_REGISTER_KERNELS
const GemmTable gemm_kernels = {nullptr, nullptr};
#else
namespace {

// 24 sums of 32 registers, or 12 of 16; the rest holds one row of B and a broadcast element of A.
constexpr int kRows = TROUPE_ISA_LEVEL >= 2 ? 12 : 6, kVectors = 2, kCols = kVectors * kWidth;

template <class Product, class Operand, class Weight>
constexpr GemmKernels register_kernels(const char* name, bool prepack) {
  return {.name = name,
          .row_block = 96,
          .col_block = prepack ? 256 : 768,  // wide: A is packed again for every block of weights packed on the fly
          .k_block = kPanelDepth,
          .deep_rows = 96,
          .deep_cols = prepack ? 256 : 768,
          .gradient_rows = 384,
          .gradient_cols = 768,
          .gradient_depth = kPanelDepth,
          .row_step = kRows,
          .col_step = kCols,
          .k_step = Product::kDepth,
          .packed_bytes = 4 / Product::kDepth,
          .free_cut = true,
          .prepack = prepack,
          .workspace_pad = -1,
          .pack_a_rows = pack_rows<Operand, kRows>,
          .pack_a_cols = pack_cols<Operand, kRows>,
          .pack_b_cols = pack_cols<Operand, kCols>,
          .pack_weight_rows = pack_rows<Weight, kCols>,
          .pack_weight_cols = pack_cols<Weight, kCols>,
          .pack_weight_rows_to_memory = pack_rows<Weight, kCols, 1, Store::kToMemory>,
          .pack_weight_cols_to_memory = pack_cols<Weight, kCols, 1, Store::kToMemory>,
          .multiply = RegisterKernel<Product, kRows, kVectors>::multiply};
}

constexpr GemmKernels kFloat = register_kernels<FloatProduct, FloatUnit, FloatUnit>("float32", false);

#if TROUPE_ISA_LEVEL >= 4
constexpr GemmKernels kBf16 = {.name = "bf16 tiles",
                               .row_block = 512,
                               .col_block = 128,
                               .k_block = 768,
                               .deep_rows = 256,
                               .deep_cols = 768,
                               .gradient_rows = 384,
                               .gradient_cols = 384,
                               .gradient_depth = 384,
                               .row_step = kTileRows,
                               .col_step = 2 * kTileRows,
                               .k_step = kTileDepth,
                               .packed_bytes = 2,
                               .free_cut = true,
                               .prepack = true,
                               .workspace_pad = 16,  // rows in turn start in all sets of L1
                               .pack_a_rows = pack_tile_rows,
                               .pack_a_cols = pack_tile_cols,
                               .pack_b_cols = pack_tile_pairs,
                               .pack_weight_rows = pack_rows<PairUnit<float>, kTileRows, kTileUnits>,
                               .pack_weight_cols = pack_cols<PairUnit<float>, kTileRows, kTileUnits>,
                               .pack_weight_rows_to_memory =
                                   pack_rows<PairUnit<float>, kTileRows, kTileUnits, Store::kToMemory>,
                               .pack_weight_cols_to_memory =
                                   pack_cols<PairUnit<float>, kTileRows, kTileUnits, Store::kToMemory>,
                               .multiply = multiply_with_tiles};
#elif TROUPE_ISA_LEVEL == 3
constexpr GemmKernels kBf16 = register_kernels<PairProduct, PairUnit<bf16>, PairUnit<float> >("bf16 pairs", true);
#else
constexpr GemmKernels kBf16 = register_kernels<FloatProduct, WidenedUnit, RoundedUnit>("bf16 as float32", false);
#endif

}  // namespace

const GemmTable gemm_kernels = {&kFloat, &kBf16};
#endif

}  // namespace troupe::TROUPE_ISA_NAMESPACE
