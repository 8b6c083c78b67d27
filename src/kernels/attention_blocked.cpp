#include "kernels/attention_blocked.h"

#include <algorithm>
#include <cstddef>
#include <type_traits>

#include "base/threads.h"

namespace troupe {
namespace {

// From this many queries on, packing the keys pays.
constexpr int64_t kFewQueries = 8;

template <class T>
void run_forward(const AttentionBlocks& blocks, const AttentionForwardTask<T>& task) {
  if constexpr (std::is_same_v<T, float>)
    blocks.forward_f32(task);
  else
    blocks.forward_bf16(task);
}

template <class T>
void run_forward_few(const AttentionBlocks& blocks, const AttentionForwardTask<T>& task) {
  if constexpr (std::is_same_v<T, float>)
    blocks.forward_few_f32(task);
  else
    blocks.forward_few_bf16(task);
}

// Ranges of whole query blocks into which a head's queries are cut, so that `num_heads` heads occupy every thread.
// More ranges cost packing keys more than once. Query i costs about i: ranges are of equal work, not of equal length.
class QueryRanges {
 public:
  QueryRanges(int64_t num_heads, int64_t S) : S_(S), num_blocks_((S + kQueryBlock - 1) / kQueryBlock) {
    const int64_t wanted = 4 * num_threads();
    count_ =
        num_heads >= wanted ? 1 : std::min(num_blocks_, (wanted + num_heads - 1) / std::max<int64_t>(num_heads, 1));
  }
  int64_t count() const { return count_; }
  int64_t begin(int64_t range) const { return std::min(S_, first_block(range) * kQueryBlock); }

 private:
  int64_t first_block(int64_t range) const {  // where the sum of block numbers reaches range / count of the whole
    const int64_t work = num_blocks_ * (num_blocks_ + 1) / 2;
    int64_t block = 0;
    while (block * (block + 1) / 2 * count_ < work * range) ++block;
    return block;
  }
  int64_t S_, num_blocks_, count_;
};

}  // namespace

template <class P>
void blocked_attention_forward(const AttentionBlocks& blocks, const AttentionShape& s,
                               Matrix<const typename P::operand> qkv_T3D, Matrix<typename P::operand> ctx_TD,
                               std::span<float> lse_BHS, Context& context) {
  using T = typename P::operand;
  const int64_t D = s.H * s.C;
  const QueryRanges ranges(s.B * s.H, s.S);
  const Context::LeasePerThread workspace(context, blocks.forward_workspace(s.S, s.C));
  parallel_for(s.B * s.H * ranges.count(), [&](int64_t item) {
    // Long ranges first: the last ranges of the heads, then the ones before them.
    const int64_t range = ranges.count() - 1 - item / (s.B * s.H), head = item % (s.B * s.H);
    const int64_t b = head / s.H, h = head % s.H;
    const T* qkv = qkv_T3D.row(b * s.S) + h * s.C;
    AttentionForwardTask<T> task{};
    task.q = {qkv, s.S, qkv_T3D.stride};
    task.k = {qkv + D, s.S, qkv_T3D.stride};
    task.v = {qkv + 2 * D, s.S, qkv_T3D.stride};
    task.C = s.C;
    task.query_begin = ranges.begin(range), task.query_end = ranges.begin(range + 1);
    task.scale = static_cast<float>(s.scale);
    task.key_valid = s.key_valid.empty() ? nullptr : s.key_valid.data() + b * s.S;
    task.dropout = s.dropout, task.dropout_row = head * s.S, task.dropout_width = s.S;
    task.ctx = ctx_TD.row(b * s.S) + h * s.C, task.ctx_stride = ctx_TD.stride;
    task.lse = lse_BHS.data() + head * s.S;
    task.workspace = workspace.own();
    run_forward(blocks, task);
  });
}

template <class P>
void blocked_attention_backward(const AttentionBlocks& blocks, const AttentionShape& s,
                                Matrix<const typename P::operand> qkv_T3D, Matrix<const typename P::operand> ctx_TD,
                                std::span<const float> lse_BHS, Matrix<const typename P::operand> dctx_TD,
                                Matrix<typename P::operand> dqkv_T3D, Context& context) {
  using T = typename P::operand;
  const int64_t D = s.H * s.C;
  const Context::LeasePerThread workspace(context, blocks.backward_workspace(s.S, s.C));
  parallel_for(s.B * s.H, [&](int64_t head) {
    const int64_t b = head / s.H, h = head % s.H;
    const T* qkv = qkv_T3D.row(b * s.S) + h * s.C;
    T* dqkv = dqkv_T3D.row(b * s.S) + h * s.C;
    AttentionBackwardTask<T> task{};
    task.q = {qkv, s.S, qkv_T3D.stride};
    task.k = {qkv + D, s.S, qkv_T3D.stride};
    task.v = {qkv + 2 * D, s.S, qkv_T3D.stride};
    task.ctx = {ctx_TD.row(b * s.S) + h * s.C, s.S, ctx_TD.stride};
    task.dctx = {dctx_TD.row(b * s.S) + h * s.C, s.S, dctx_TD.stride};
    task.C = s.C;
    task.scale = static_cast<float>(s.scale);
    task.key_valid = s.key_valid.empty() ? nullptr : s.key_valid.data() + b * s.S;
    task.lse = lse_BHS.data() + head * s.S;
    task.dropout = s.dropout, task.dropout_row = head * s.S, task.dropout_width = s.S;
    task.dq = dqkv, task.dk = dqkv + D, task.dv = dqkv + 2 * D, task.dqkv_stride = dqkv_T3D.stride;
    task.workspace = workspace.own();
    if constexpr (std::is_same_v<T, float>)
      blocks.backward_f32(task);
    else
      blocks.backward_bf16(task);
  });
}

template <class P>
void blocked_attention_decode(const AttentionBlocks& blocks, int64_t H, double scale,
                              std::span<const DecodeSequence<P>> sequences, Context& context) {
  using T = typename P::operand;
  int64_t bytes = 0;
  for (const DecodeSequence<P>& sequence : sequences)
    bytes = std::max(bytes, sequence.q_ND.rows < kFewQueries
                                ? sequence.num_keys() * static_cast<int64_t>(sizeof(float))
                                : blocks.forward_workspace(sequence.num_keys(), sequence.q_ND.cols / H));
  const Context::LeasePerThread workspace(context, bytes);
  parallel_for(static_cast<int64_t>(sequences.size()) * H, [&](int64_t item) {
    const DecodeSequence<P>& sequence = sequences[static_cast<size_t>(item / H)];
    const int64_t C = sequence.q_ND.cols / H, at = item % H * C, N = sequence.q_ND.rows;
    const auto rows = [&](const Matrix<const T>& m) { return HeadRows<T>{m.data + at, m.rows, m.stride}; };
    AttentionForwardTask<T> task{};
    task.q = rows(sequence.q_ND);
    task.shared_k = rows(sequence.shared_k_LD), task.shared_v = rows(sequence.shared_v_LD);
    task.k = rows(sequence.k_LD), task.v = rows(sequence.v_LD);
    task.C = C;
    task.first_position = sequence.num_keys() - N;
    task.query_end = N;
    task.scale = static_cast<float>(scale);
    task.ctx = sequence.ctx_ND.data + at, task.ctx_stride = sequence.ctx_ND.stride;
    task.workspace = workspace.own();
    if (N < kFewQueries)
      run_forward_few(blocks, task);
    else
      run_forward(blocks, task);
  });
}

#define TROUPE_INSTANTIATE(P)                                                                                          \
  template void blocked_attention_forward<P>(const AttentionBlocks&, const AttentionShape&, Matrix<const P::operand>,  \
                                             Matrix<P::operand>, std::span<float>, Context&);                          \
  template void blocked_attention_backward<P>(const AttentionBlocks&, const AttentionShape&, Matrix<const P::operand>, \
                                              Matrix<const P::operand>, std::span<const float>,                        \
                                              Matrix<const P::operand>, Matrix<P::operand>, Context&);                 \
  template void blocked_attention_decode<P>(const AttentionBlocks&, int64_t, double,                                   \
                                            std::span<const DecodeSequence<P>>, Context&);
TROUPE_INSTANTIATE(F32)
TROUPE_INSTANTIATE(Bf16)
#undef TROUPE_INSTANTIATE

}  // namespace troupe
