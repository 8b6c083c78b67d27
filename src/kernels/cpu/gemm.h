// The part of a matrix product that depends on the instruction set: packing and multiplying blocks.
//
//   C[m, n] (+)= sum_k A[m, k] B[k, n]
//
// A and B are packed block by block into a layout that only their kernel knows; linear_blocked.cpp cuts the products of
// a linear layer into such blocks. A "vector" is a row of A or a column of B; it lies in memory either along k ("rows":
// element (i, k) at source[i * stride + k]) or across ("cols": element (i, k) at source[k * stride + i]). Packing
// converts to the packed type and fills up with zeros, so tails need no care afterwards.
// Numerics: products accumulate in float32, each C element over k in ascending order within a block (in pairs for bf16
// dot instructions), whatever the position of the element: bits depend on the cut of k alone, which k_block and
// gradient_depth fix.
// Subnormal bf16 values count as zero where the hardware's bf16 instructions do so.
#pragma once

#include <cstdint>

namespace troupe {

// source: operands in their own type, or float32 weights (which are first rounded to the operand type).
using PackFunction = void (*)(const void* source, int64_t stride, int64_t count, int64_t depth, void* packed);

struct GemmKernels {
  const char* name;
  // Largest blocks packed at once: for products with weights (rows of activations, columns of weights, depth), and for
  // weight gradients (a tile of dw, and the rows of activations summed between two visits to it).
  int64_t row_block, col_block, k_block;
  int64_t deep_rows, deep_cols;  // the same for products deeper than k_block, whose sums wait in between
  int64_t gradient_rows, gradient_cols, gradient_depth;
  int64_t row_step, col_step, k_step;     // a packed block is padded to multiples of these, which divide the blocks
  int64_t packed_bytes;                   // of one element
  bool free_cut;                          // bits do not depend on where rows and columns are cut into blocks
  bool prepack;                           // packed weights are worth keeping: half the size of float32
  // C is always a workspace with room for whole col_steps, rows `workspace_pad` elements further apart than it is wide;
  // weight gradients are summed there and added to dw once. -1: multiply() takes any C.
  int64_t workspace_pad;
  PackFunction pack_a_rows, pack_a_cols;  // operands
  PackFunction pack_b_cols;               // operands
  PackFunction pack_weight_rows, pack_weight_cols;  // float32 weights as B
  // The same past the caches, for more than they hold: no line is read before it is written. `packed` is aligned to 64
  // bytes. nullptr: there is no such way.
  PackFunction pack_weight_rows_to_memory, pack_weight_cols_to_memory;
  // c = A B, or c += A B. Reads and writes m x n elements of c, whose rows are ldc apart; in a workspace,
  // whole steps of columns.
  void (*multiply)(int64_t m, int64_t n, int64_t k, const void* a, const void* b, float* c, int64_t ldc, bool add);
};

struct GemmTable {
  const GemmKernels* f32;   // float32 operands; nullptr if this level has no kernel
  const GemmKernels* bf16;  // bf16 operands
};

}  // namespace troupe
