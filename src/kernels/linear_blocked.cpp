#include "kernels/linear_blocked.h"
#include "kernels/past_caches.h"
#include "tensor/host_matrix.h"

#include <omp.h>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <type_traits>
#include <vector>

namespace troupe {
namespace {

int64_t round_up(int64_t value, int64_t step) { return (value + step - 1) / step * step; }
int64_t num_blocks(int64_t size, int64_t block) { return (size + block - 1) / block; }

// Calls body(task, scratch) for every task, in one parallel region even for a single task, so that a library called
// inside never starts threads of its own. Scratch is aligned and not shared between threads.
template <class Body>
void run_tasks(int64_t num_tasks, int64_t scratch_bytes, Context& context, const Body& body) {
  if (num_tasks == 0) return;
  const Context::LeasePerThread lease(context, scratch_bytes);
  std::atomic<int64_t> next{0};
#pragma omp parallel
  {
    std::byte* const scratch = lease.own();
    for (int64_t task = next++; task < num_tasks; task = next++) body(task, scratch);
  }
}

// Where the block (columns from c0, padded to `padded_cols`; depth from k0) lies in a packed matrix.
int64_t packed_offset(const GemmKernels& gemm, int64_t padded_depth, int64_t c0, int64_t k0, int64_t padded_cols) {
  return (c0 * padded_depth + k0 * padded_cols) * gemm.packed_bytes;
}

// B of a product with rows: float32 weights [E, ...] of which either the vectors lie along k ("rows") or across.
struct WeightOperand {
  const float* data;
  int64_t expert_stride, stride;
  bool across;
  int64_t width, depth;  // n and k of the product

  void pack(const GemmKernels& gemm, int64_t expert, int64_t c0, int64_t cols, int64_t k0, int64_t depth_block,
            void* packed, bool to_memory) const {
    const float* source = data + expert * expert_stride + (across ? k0 * stride + c0 : c0 * stride + k0);
    const PackFunction pack = to_memory ? (across ? gemm.pack_weight_cols_to_memory : gemm.pack_weight_rows_to_memory)
                                        : (across ? gemm.pack_weight_cols : gemm.pack_weight_rows);
    pack(source, stride, cols, depth_block, packed);
  }
  int64_t padded_depth(const GemmKernels& gemm) const { return round_up(depth, gemm.k_step); }
  int64_t expert_bytes(const GemmKernels& gemm) const {
    return round_up(width, gemm.col_step) * padded_depth(gemm) * gemm.packed_bytes;
  }
};

template <class P>
WeightOperand forward_operand(const WeightView<P>& bank) {
  return {bank.weight, bank.out * bank.in, bank.in, false, bank.out, bank.in};
}
template <class P>
WeightOperand backward_operand(const WeightView<P>& bank) {
  return {bank.weight, bank.out * bank.in, bank.in, true, bank.in, bank.out};
}

// Packs columns [c0, c0 + cols) over the whole depth, as consecutive k blocks.
void pack_column_block(const GemmKernels& gemm, const WeightOperand& weights, int64_t expert, int64_t c0, int64_t cols,
                       std::byte* packed, bool to_memory = false) {
  const int64_t padded_cols = round_up(cols, gemm.col_step);
  for (int64_t k0 = 0; k0 < weights.depth; k0 += gemm.k_block)
    weights.pack(gemm, expert, c0, cols, k0, std::min(gemm.k_block, weights.depth - k0),
                 packed + k0 * padded_cols * gemm.packed_bytes, to_memory);
}

void pack_bank(const GemmKernels& gemm, const WeightOperand& weights, int64_t num_experts, std::byte* packed,
               Context& context) {
  const int64_t col_blocks = num_blocks(weights.width, gemm.col_block);
  const bool to_memory = gemm.pack_weight_rows_to_memory && reinterpret_cast<uintptr_t>(packed) % 64 == 0 &&
                         num_experts * weights.expert_bytes(gemm) >= kMoreThanCachesHold;
  run_tasks(num_experts * col_blocks, 0, context, [&](int64_t task, std::byte*) {
    const int64_t expert = task / col_blocks, c0 = task % col_blocks * gemm.col_block;
    const int64_t cols = std::min(gemm.col_block, weights.width - c0);
    pack_column_block(gemm, weights, expert, c0, cols,
                      packed + expert * weights.expert_bytes(gemm) +
                          packed_offset(gemm, weights.padded_depth(gemm), c0, 0, round_up(cols, gemm.col_step)),
                      to_memory);
  });
}

// How the output rows and columns of every expert are cut into tasks.
struct RowTasks {
  int64_t row_block, col_block;  // computed at a time
  int64_t rows, cols;            // of one task, multiples of the blocks
  int64_t col_tasks;             // per range of rows
  std::vector<int64_t> first;    // per expert, its first range of rows; E + 1 entries

  RowTasks(const GemmKernels& gemm, bool packed, int64_t num_experts, const int64_t* offsets, int64_t width,
           int64_t depth) {
    const bool deep = packed && depth > gemm.k_block;
    row_block = deep ? gemm.deep_rows : gemm.row_block;
    col_block = deep ? gemm.deep_cols : gemm.col_block;
    // With packed weights a task keeps one packed block of A and streams B; without, it packs one block of B and
    // streams up to 16 blocks of A past it.
    const int64_t col_blocks = std::max<int64_t>(1, num_blocks(width, col_block));
    const int64_t wanted = 4 * omp_get_max_threads();
    rows = row_block * (packed ? 1 : 16);
    cols = col_block * (packed ? col_blocks : 1);
    cut(num_experts, offsets);
    while (rows > row_block && first.back() * num_blocks(width, cols) < wanted) {
      rows = round_up(rows / 2, row_block);
      cut(num_experts, offsets);
    }
    while (cols > col_block && first.back() * num_blocks(width, cols) < wanted) cols = round_up(cols / 2, col_block);
    col_tasks = num_blocks(width, cols);
  }

  void cut(int64_t num_experts, const int64_t* offsets) {
    first.assign(static_cast<size_t>(num_experts) + 1, 0);
    for (int64_t e = 0; e < num_experts; ++e)
      first[static_cast<size_t>(e) + 1] = first[static_cast<size_t>(e)] + num_blocks(offsets[e + 1] - offsets[e], rows);
  }
  int64_t size() const { return first.back() * col_tasks; }
  int64_t expert_of(int64_t range) const {
    return std::upper_bound(first.begin(), first.end(), range) - first.begin() - 1;
  }
};

// z = A W for the rows of every expert; finish(expert, block) gets each block of z while it is in cache.
template <class Operand, class Finish>
void multiply_rows(const BlockedLinear& how, const WeightOperand& weights, const void* packed, int64_t num_experts,
                   Matrix<const Operand> a, const int64_t* offsets, const Finish& finish) {
  const GemmKernels& gemm = how.gemm;
  const auto* const packed_weights = static_cast<const std::byte*>(packed);
  const int64_t padded_depth = weights.padded_depth(gemm);
  const RowTasks tasks(gemm, packed_weights != nullptr, num_experts, offsets, weights.width, weights.depth);
  const int64_t row_block = tasks.row_block, col_block = tasks.col_block;
  const int64_t a_bytes = round_up(round_up(row_block, gemm.row_step) * padded_depth * gemm.packed_bytes, 64);
  const int64_t b_bytes = packed_weights ? 0 : round_up(gemm.col_block * padded_depth * gemm.packed_bytes, 64);
  const int64_t z_stride = col_block + std::max<int64_t>(gemm.workspace_pad, 0);
  const int64_t c_bytes = row_block * z_stride * static_cast<int64_t>(sizeof(float));

  run_tasks(tasks.size(), a_bytes + b_bytes + c_bytes, how.context, [&](int64_t task, std::byte* scratch) {
    const int64_t range = task / tasks.col_tasks, expert = tasks.expert_of(range);
    const int64_t row_begin = offsets[expert] + (range - tasks.first[static_cast<size_t>(expert)]) * tasks.rows;
    const int64_t row_end = std::min(row_begin + tasks.rows, offsets[expert + 1]);
    const int64_t col_begin = task % tasks.col_tasks * tasks.cols;
    const int64_t col_end = std::min(col_begin + tasks.cols, weights.width);
    std::byte* const a_block = scratch;
    std::byte* const b_scratch = scratch + a_bytes;
    float* const z = reinterpret_cast<float*>(scratch + a_bytes + b_bytes);
    int64_t a_row = -1;  // first row of the packed block of A

    for (int64_t c0 = col_begin; c0 < col_end; c0 += col_block) {
      const int64_t c1 = std::min(c0 + col_block, col_end);
      if (!packed_weights) pack_column_block(gemm, weights, expert, c0, c1 - c0, b_scratch);
      for (int64_t r0 = row_begin; r0 < row_end; r0 += row_block) {
        const int64_t rows = std::min(row_block, row_end - r0), padded_rows = round_up(rows, gemm.row_step);
        for (int64_t k0 = 0; k0 < weights.depth; k0 += gemm.k_block) {
          const int64_t depth = std::min(gemm.k_block, weights.depth - k0);
          std::byte* const a_part = a_block + k0 * padded_rows * gemm.packed_bytes;
          if (a_row != r0) gemm.pack_a_rows(HostMatrix(a).row(r0) + k0, a.stride, rows, depth, a_part);
          for (int64_t s0 = c0; s0 < c1; s0 += gemm.col_block) {  // blocks as they were packed
            const int64_t cols = std::min(gemm.col_block, c1 - s0), padded_cols = round_up(cols, gemm.col_step);
            const std::byte* const b_part = packed_weights ? packed_weights + expert * weights.expert_bytes(gemm) +
                                                                 packed_offset(gemm, padded_depth, s0, k0, padded_cols)
                                                           : b_scratch + k0 * padded_cols * gemm.packed_bytes;
            gemm.multiply(rows, cols, depth, a_part, b_part, z + (s0 - c0), z_stride, k0 > 0);
          }
        }
        if (weights.depth == 0) std::fill_n(z, rows * z_stride, 0.0f);
        a_row = r0;
        finish(expert, EpilogueBlock{z, z_stride, r0, c0, rows, c1 - c0, weights.width});
      }
    }
  });
}

struct Tile {
  int64_t rows, cols;
};

// The tile of dw that one task computes. Large tiles pack dy and x less often, as many equal tiles as there are threads
// (or a multiple) keep them all busy: of the cuts into even tiles, the one whose slowest thread is done first. Kernels
// whose bits depend on the cut get the same tile whatever the number of threads.
Tile choose_tile(const GemmKernels& gemm, int64_t num_experts, const int64_t* offsets, int64_t out, int64_t in) {
  constexpr int64_t kPackCost = 24;  // packing one element, in multiply-adds
  constexpr int64_t kSmallest = 64;
  const auto even_part = [](int64_t size, int64_t parts, int64_t step) {
    return round_up(num_blocks(std::max<int64_t>(1, size), parts), step);
  };
  const int64_t row_cuts = std::max<int64_t>(1, num_blocks(out, gemm.gradient_rows));
  const int64_t col_cuts = std::max<int64_t>(1, num_blocks(in, gemm.gradient_cols));
  if (!gemm.free_cut) return {even_part(out, row_cuts, gemm.row_step), even_part(in, col_cuts, gemm.col_step)};

  const int64_t threads = omp_get_max_threads(), rows_in_all = offsets[num_experts] - offsets[0];
  int64_t busiest = 0;  // rows of the busiest expert
  for (int64_t e = 0; e < num_experts; ++e) busiest = std::max(busiest, offsets[e + 1] - offsets[e]);
  Tile best{};
  double best_time = 0.0;
  for (int64_t i = row_cuts; i == row_cuts || i * kSmallest <= out; ++i)
    for (int64_t j = col_cuts; j == col_cuts || j * kSmallest <= in; ++j) {
      const Tile tile{even_part(out, i, gemm.row_step), even_part(in, j, gemm.col_step)};
      const int64_t tiles = num_blocks(out, tile.rows) * num_blocks(in, tile.cols);
      const auto per_row = static_cast<double>(tile.rows * tile.cols + kPackCost * (tile.rows + tile.cols));
      // Equal tasks go in rounds; of unequal ones the last to start may be the largest.
      const double rows_of_slowest =
          num_experts == 1
              ? static_cast<double>(num_blocks(tiles, threads) * busiest)
              : static_cast<double>(tiles * rows_in_all + (threads - 1) * busiest) / static_cast<double>(threads);
      const double time = per_row * rows_of_slowest;
      if (best.rows == 0 || time < best_time) best = tile, best_time = time;
    }
  return best;
}

template <class P>
void column_sums(const EpilogueKernels& kernels, Matrix<const typename P::operand> dy, float* sums) {
  if constexpr (std::is_same_v<P, F32>)
    kernels.column_sums_f32(dy, sums);
  else
    kernels.column_sums_bf16(dy, sums);
}

}  // namespace

template <class P>
int64_t packed_forward_bytes(const GemmKernels& gemm, const WeightView<P>& bank) {
  return bank.num_experts * forward_operand(bank).expert_bytes(gemm);
}

template <class P>
int64_t packed_backward_bytes(const GemmKernels& gemm, const WeightView<P>& bank) {
  return bank.num_experts * backward_operand(bank).expert_bytes(gemm);
}

template <class P>
void pack_forward_weights(const GemmKernels& gemm, const WeightView<P>& bank, void* packed, Context& context) {
  pack_bank(gemm, forward_operand(bank), bank.num_experts, static_cast<std::byte*>(packed), context);
}

template <class P>
void pack_backward_weights(const GemmKernels& gemm, const WeightView<P>& bank, void* packed, Context& context) {
  pack_bank(gemm, backward_operand(bank), bank.num_experts, static_cast<std::byte*>(packed), context);
}

template <class P>
void blocked_forward(const BlockedLinear& how, const WeightView<P>& bank, Matrix<const typename P::operand> x_RK,
                     const int64_t* offsets, const ForwardEpilogue<P>& epilogue) {
  multiply_rows(how, forward_operand(bank), how.forward_weights, bank.num_experts, x_RK, offsets,
                [&](int64_t expert, const EpilogueBlock& block) {
                  const float* bias = bank.bias ? bank.bias_of(expert) + block.col : nullptr;
                  if constexpr (std::is_same_v<P, F32>)
                    how.epilogue.forward_f32(block, bias, epilogue);
                  else
                    how.epilogue.forward_bf16(block, bias, epilogue);
                });
}

template <class P>
void blocked_backward_input(const BlockedLinear& how, const WeightView<P>& bank,
                            Matrix<const typename P::operand> dy_RN, const int64_t* offsets,
                            const BackwardEpilogue<P>& epilogue) {
  multiply_rows(how, backward_operand(bank), how.backward_weights, bank.num_experts, dy_RN, offsets,
                [&](int64_t, const EpilogueBlock& block) {
                  if constexpr (std::is_same_v<P, F32>)
                    how.epilogue.backward_f32(block, epilogue);
                  else
                    how.epilogue.backward_bf16(block, epilogue);
                });
}

template <class P>
void blocked_backward_weight(const BlockedLinear& how, const WeightView<P>& bank,
                             Matrix<const typename P::operand> dy_RN, Matrix<const typename P::operand> x_RK,
                             const int64_t* offsets, float* dw, float* db) {
  const GemmKernels& gemm = how.gemm;
  const Tile largest = choose_tile(gemm, bank.num_experts, offsets, bank.out, bank.in);
  // An empty row of weights still has a bias gradient, so there is at least one tile of columns.
  const int64_t row_tiles = num_blocks(bank.out, largest.rows),
                col_tiles = std::max<int64_t>(1, num_blocks(bank.in, largest.cols));
  const int64_t padded_depth = round_up(gemm.gradient_depth, gemm.k_step);
  const int64_t a_bytes = round_up(largest.rows * padded_depth * gemm.packed_bytes, 64);
  const int64_t b_bytes = round_up(largest.cols * padded_depth * gemm.packed_bytes, 64);
  const bool workspace = gemm.workspace_pad >= 0;
  const int64_t z_stride = largest.cols + gemm.workspace_pad;
  const int64_t z_bytes = workspace ? largest.rows * z_stride * static_cast<int64_t>(sizeof(float)) : 0;

  const int64_t bytes = a_bytes + b_bytes + z_bytes;
  run_tasks(bank.num_experts * row_tiles * col_tiles, bytes, how.context, [&](int64_t task, std::byte* scratch) {
    const int64_t expert = task / (row_tiles * col_tiles), tile = task % (row_tiles * col_tiles);
    const int64_t n0 = tile / col_tiles * largest.rows, rows = std::min(largest.rows, bank.out - n0);
    const int64_t i0 = tile % col_tiles * largest.cols, cols = std::min(largest.cols, bank.in - i0);
    float* const c = dw + (expert * bank.out + n0) * bank.in + i0;
    float* const z = reinterpret_cast<float*>(scratch + a_bytes + b_bytes);
    const int64_t begin = offsets[expert], end = offsets[expert + 1];
    for (int64_t r0 = begin; r0 < end; r0 += gemm.gradient_depth) {
      const int64_t depth = std::min(gemm.gradient_depth, end - r0);
      if (db && i0 == 0)
        column_sums<P>(how.epilogue, {HostMatrix(dy_RN).row(r0) + n0, depth, rows, dy_RN.stride},
                       db + expert * bank.out + n0);
      if (cols == 0) continue;
      gemm.pack_a_cols(HostMatrix(dy_RN).row(r0) + n0, dy_RN.stride, rows, depth, scratch);
      gemm.pack_b_cols(HostMatrix(x_RK).row(r0) + i0, x_RK.stride, cols, depth, scratch + a_bytes);
      if (workspace)
        gemm.multiply(rows, cols, depth, scratch, scratch + a_bytes, z, z_stride, r0 > begin);
      else
        gemm.multiply(rows, cols, depth, scratch, scratch + a_bytes, c, bank.in, true);
    }
    if (workspace && begin < end) how.epilogue.add({z, rows, cols, z_stride}, c, bank.in);
  });
}

#define TROUPE_INSTANTIATE(P)                                                                                    \
  template int64_t packed_forward_bytes<P>(const GemmKernels&, const WeightView<P>&);                            \
  template int64_t packed_backward_bytes<P>(const GemmKernels&, const WeightView<P>&);                           \
  template void pack_forward_weights<P>(const GemmKernels&, const WeightView<P>&, void*, Context&);              \
  template void pack_backward_weights<P>(const GemmKernels&, const WeightView<P>&, void*, Context&);             \
  template void blocked_forward<P>(const BlockedLinear&, const WeightView<P>&, Matrix<const P::operand>,         \
                                   const int64_t*, const ForwardEpilogue<P>&);                                   \
  template void blocked_backward_input<P>(const BlockedLinear&, const WeightView<P>&, Matrix<const P::operand>,  \
                                          const int64_t*, const BackwardEpilogue<P>&);                           \
  template void blocked_backward_weight<P>(const BlockedLinear&, const WeightView<P>&, Matrix<const P::operand>, \
                                           Matrix<const P::operand>, const int64_t*, float*, float*);
TROUPE_INSTANTIATE(F32)
TROUPE_INSTANTIATE(Bf16)
#undef TROUPE_INSTANTIATE

}  // namespace troupe
