#include "kernels/attention_blocked.h"

#include <algorithm>
#include <cstddef>
#include <type_traits>

#include "base/threads.h"
#include "tensor/host_matrix.h"

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

// The window that kernels take: all of the keys where none is asked for.
int64_t window_over(const AttentionHeads& heads, int64_t num_keys) {
  return heads.window > 0 ? std::min(heads.window, num_keys) : num_keys;
}

// Ranges of whole query blocks into which a head's queries are cut, so that `num_heads` heads occupy every thread.
// More ranges cost packing keys more than once. A query costs as many keys as it sees: ranges are of equal work, not of
// equal length.
class QueryRanges {
 public:
  QueryRanges(int64_t num_heads, int64_t S, int64_t window)
      : S_(S),
        num_blocks_((S + kQueryBlock - 1) / kQueryBlock),
        seen_blocks_(std::min(num_blocks_, window / kKeyBlock + 2)) {
    const int64_t wanted = 4 * num_threads();
    count_ =
        num_heads >= wanted ? 1 : std::min(num_blocks_, (wanted + num_heads - 1) / std::max<int64_t>(num_heads, 1));
  }
  int64_t count() const { return count_; }
  int64_t begin(int64_t range) const { return std::min(S_, first_block(range) * kQueryBlock); }

 private:
  // Blocks of keys that the query blocks before this one see together.
  int64_t work_before(int64_t block) const {
    const int64_t growing = std::min(block, seen_blocks_);
    return growing * (growing + 1) / 2 + (block - growing) * seen_blocks_;
  }
  int64_t first_block(int64_t range) const {  // where the work reaches range / count of the whole
    int64_t block = 0;
    while (work_before(block) * count_ < work_before(num_blocks_) * range) ++block;
    return block;
  }
  int64_t S_, num_blocks_, seen_blocks_, count_;
};

// The S rows of sequence b in the columns of a head.
template <class T>
HeadRows<std::remove_const_t<T>> head_rows(Matrix<T> m, const AttentionShape& s, int64_t b, int64_t head) {
  return {HostMatrix(m).row(b * s.S) + head * s.heads.C, s.S, m.stride};
}

// out = sum over `count` parts of [out.rows, out.cols], which follow each other, in order.
template <class T>
void add_parts(const float* parts, int64_t count, HostMatrix<T> out) {
  for (int64_t r = 0; r < out.rows; ++r)
    for (int64_t c = 0; c < out.cols; ++c) {
      float sum = 0.0f;
      for (int64_t part = 0; part < count; ++part) sum += parts[(part * out.rows + r) * out.cols + c];
      out(r, c) = T(sum);
    }
}

}  // namespace

template <class P>
void blocked_attention_forward(const AttentionBlocks& blocks, const AttentionShape& s,
                               const QueryKeyValue<const typename P::operand>& in, Matrix<typename P::operand> ctx_THC,
                               std::span<float> lse_BHS, Context& context) {
  using T = typename P::operand;
  const int64_t H = s.heads.H, C = s.heads.C;
  const int64_t num_heads = s.B * H, window = window_over(s.heads, s.S);
  const QueryRanges ranges(num_heads, s.S, window);
  const Context::LeasePerThread workspace(context, blocks.forward_workspace(s.S, C));
  parallel_for(num_heads * ranges.count(), [&](int64_t item) {
    // Long ranges first: the last ranges of the heads, then the ones before them.
    const int64_t range = ranges.count() - 1 - item / num_heads, head = item % num_heads;
    const int64_t b = head / H, h = head % H;
    const KvSegment<T> sequence{in.k_TGC.rows_from(b * s.S, s.S), in.v_TGC.rows_from(b * s.S, s.S)};
    AttentionForwardTask<T> task{};
    task.q = head_rows(in.q_THC, s, b, h);
    task.past = &sequence, task.kv_column = s.heads.kv_head(h) * C;
    task.C = C, task.window = window;
    task.query_begin = ranges.begin(range), task.query_end = ranges.begin(range + 1);
    task.scale = static_cast<float>(s.heads.scale);
    task.key_valid = s.key_valid.empty() ? nullptr : s.key_valid.data() + b * s.S;
    task.key_end = s.key_end.empty() ? nullptr : s.key_end.data() + b * s.S;
    task.dropout = s.dropout, task.dropout_row = head * s.S, task.dropout_width = s.S;
    task.ctx = HostMatrix(ctx_THC).row(b * s.S) + h * C, task.ctx_stride = ctx_THC.stride;
    task.lse = lse_BHS.data() + head * s.S;
    task.workspace = workspace.own();
    run_forward(blocks, task);
  });
}

template <class P>
void blocked_attention_backward(const AttentionBlocks& blocks, const AttentionShape& s,
                                const QueryKeyValue<const typename P::operand>& in,
                                Matrix<const typename P::operand> ctx_THC, std::span<const float> lse_BHS,
                                Matrix<const typename P::operand> dctx_THC,
                                const QueryKeyValue<typename P::operand>& gradient, Context& context) {
  using T = typename P::operand;
  const int64_t H = s.heads.H, G = s.heads.G, C = s.heads.C;
  // Where heads share keys, each leaves its part of their gradients in float32; the parts are then added in order.
  const bool shared = G < H;
  const int64_t part = s.S * C, parts_bytes = shared ? s.B * H * part * static_cast<int64_t>(sizeof(float)) : 0;
  const Context::Lease dk_parts(context, parts_bytes), dv_parts(context, parts_bytes);
  {
    const Context::LeasePerThread workspace(context, blocks.backward_workspace(s.S, C));
    parallel_for(s.B * H, [&](int64_t head) {
      const int64_t b = head / H, h = head % H, g = s.heads.kv_head(h);
      AttentionBackwardTask<T> task{};
      task.q = head_rows(in.q_THC, s, b, h);
      task.k = head_rows(in.k_TGC, s, b, g);
      task.v = head_rows(in.v_TGC, s, b, g);
      task.ctx = head_rows(ctx_THC, s, b, h);
      task.dctx = head_rows(dctx_THC, s, b, h);
      task.C = C, task.window = window_over(s.heads, s.S);
      task.scale = static_cast<float>(s.heads.scale);
      task.key_valid = s.key_valid.empty() ? nullptr : s.key_valid.data() + b * s.S;
      task.key_end = s.key_end.empty() ? nullptr : s.key_end.data() + b * s.S;
      task.lse = lse_BHS.data() + head * s.S;
      task.dropout = s.dropout, task.dropout_row = head * s.S, task.dropout_width = s.S;
      task.dq = HostMatrix(gradient.q_THC).row(b * s.S) + h * C, task.dq_stride = gradient.q_THC.stride;
      task.dk = HostMatrix(gradient.k_TGC).row(b * s.S) + g * C, task.dk_stride = gradient.k_TGC.stride;
      task.dv = HostMatrix(gradient.v_TGC).row(b * s.S) + g * C, task.dv_stride = gradient.v_TGC.stride;
      if (shared) task.dk_part = dk_parts.as<float>() + head * part, task.dv_part = dv_parts.as<float>() + head * part;
      task.workspace = workspace.own();
      if constexpr (std::is_same_v<T, float>)
        blocks.backward_f32(task);
      else
        blocks.backward_bf16(task);
    });
  }
  if (!shared) return;
  parallel_for(s.B * G, [&](int64_t item) {
    const int64_t b = item / G, g = item % G;
    const auto add = [&](const Context::Lease& parts, const Matrix<T>& out) {
      add_parts(parts.as<float>() + item * (H / G) * part, H / G,
                HostMatrix<T>(HostMatrix(out).row(b * s.S) + g * C, s.S, C, out.stride));
    };
    add(dk_parts, gradient.k_TGC);
    add(dv_parts, gradient.v_TGC);
  });
}

template <class P>
void blocked_attention_decode(const AttentionBlocks& blocks, const AttentionHeads& heads,
                              std::span<const DecodeSequence<P>> sequences, Context& context) {
  using T = typename P::operand;
  const int64_t H = heads.H, C = heads.C;
  int64_t bytes = 0;
  for (const DecodeSequence<P>& sequence : sequences)
    bytes = std::max(bytes, sequence.q_NHC.rows < kFewQueries
                                ? sequence.num_keys() * static_cast<int64_t>(sizeof(float))
                                : blocks.forward_workspace(sequence.num_keys(), C));
  const Context::LeasePerThread workspace(context, bytes);
  parallel_for(static_cast<int64_t>(sequences.size()) * H, [&](int64_t item) {
    const DecodeSequence<P>& sequence = sequences[static_cast<size_t>(item / H)];
    const int64_t h = item % H, N = sequence.q_NHC.rows, num_keys = sequence.num_keys();
    AttentionForwardTask<T> task{};
    task.q = {sequence.q_NHC.data + h * C, N, sequence.q_NHC.stride};
    task.past = sequence.past.data(), task.kv_column = heads.kv_head(h) * C;
    task.C = C, task.window = window_over(heads, num_keys);
    task.first_position = num_keys - N;
    task.query_end = N;
    task.scale = static_cast<float>(heads.scale);
    task.ctx = sequence.ctx_NHC.data + h * C, task.ctx_stride = sequence.ctx_NHC.stride;
    task.workspace = workspace.own();
    if (N < kFewQueries)
      run_forward_few(blocks, task);
    else
      run_forward(blocks, task);
  });
}

#define TROUPE_INSTANTIATE(P)                                                                                         \
  template void blocked_attention_forward<P>(const AttentionBlocks&, const AttentionShape&,                           \
                                             const QueryKeyValue<const P::operand>&, Matrix<P::operand>,              \
                                             std::span<float>, Context&);                                             \
  template void blocked_attention_backward<P>(                                                                        \
      const AttentionBlocks&, const AttentionShape&, const QueryKeyValue<const P::operand>&, Matrix<const P::operand>, \
      std::span<const float>, Matrix<const P::operand>, const QueryKeyValue<P::operand>&, Context&);                  \
  template void blocked_attention_decode<P>(const AttentionBlocks&, const AttentionHeads&,                            \
                                            std::span<const DecodeSequence<P>>, Context&);
TROUPE_INSTANTIATE(F32)
TROUPE_INSTANTIATE(Bf16)
#undef TROUPE_INSTANTIATE

}  // namespace troupe
