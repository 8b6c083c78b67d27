// Attention on the device by our own kernels.
#include "ops/attention.h"

#include <vector>

#include "ops/cuda/attention.h"
#include "ops/cuda/row.h"

namespace troupe {
namespace {

cuda::AttentionSizes device_sizes(const AttentionShape& shape) {
  const AttentionHeads& heads = shape.heads;
  return {.B = shape.B,
          .S = shape.S,
          .H = heads.H,
          .G = heads.G,
          .C = heads.C,
          .window = heads.window,
          .scale = static_cast<float>(heads.scale),
          .key_valid = shape.key_valid.empty() ? nullptr : shape.key_valid.data(),
          .key_end = shape.key_end.empty() ? nullptr : shape.key_end.data(),
          .dropout = shape.dropout};
}

// launch_at.operator()<width>() for the narrowest kernels that take heads of C columns.
template <class LaunchAt>
void at_width(int64_t C, const LaunchAt& launch_at) {
  if (C <= 64)
    launch_at.template operator()<64>();
  else
    launch_at.template operator()<cuda::kWidestHead>();
}

// What tensor cores do not take: heads that are too wide, or do not start at multiples of 16 bytes.
template <class Task, class... T>
std::string refuses_heads(const Task& task, const Matrix<T>&... others) {
  const int64_t C = task.shape.heads.C;
  if (std::string reason = refuses_wide_heads(C); !reason.empty()) return reason;
  if (C % 8 != 0) return fmt::format("heads have {} columns, not a multiple of 8", C);
  return rows_aligned(task.q_THC, task.k_TGC, task.v_TGC, others...) ? ""
                                                                     : "rows do not start at multiples of 16 bytes";
}

}  // namespace

std::string refuses_wide_heads(int64_t C) {
  return C <= cuda::kWidestHead ? "" : fmt::format("heads have {} columns, more than {}", C, cuda::kWidestHead);
}

template <class P>
void on_cuda(const AttentionForward<P>& task, Context&) {
  at_width(task.shape.heads.C, [&]<int64_t width>() {
    cuda::launch(cuda::AttentionForwardKernel<typename P::operand, static_cast<int>(width)>{
        device_sizes(task.shape), cuda::view(task.q_THC), cuda::view(task.k_TGC), cuda::view(task.v_TGC),
        cuda::view(task.ctx_THC), task.lse_BHS.data()});
  });
}

template <class P>
void on_cuda(const AttentionBackward<P>& task, Context& context) {
  using operand = typename P::operand;
  const cuda::AttentionSizes sizes = device_sizes(task.shape);
  const Context::Lease lease(context, sizes.B * sizes.H * sizes.S * static_cast<int64_t>(sizeof(float)));
  float* const delta = lease.as<float>();
  const cuda::View<const operand> q = cuda::view(task.q_THC), k = cuda::view(task.k_TGC), v = cuda::view(task.v_TGC);
  const cuda::View<const operand> dctx = cuda::view(task.dctx_THC);
  cuda::launch(cuda::AttentionDeltaKernel<operand>{sizes, cuda::view(task.ctx_THC), dctx, delta});
  at_width(sizes.C, [&]<int64_t width>() {
    constexpr auto kWidth = static_cast<int>(width);
    cuda::launch(cuda::AttentionQueryGradientKernel<operand, kWidth>{sizes, q, k, v, dctx, task.lse_BHS.data(), delta,
                                                                     cuda::view(task.dq_THC)});
    cuda::launch(cuda::AttentionKeyGradientKernel<operand, kWidth>{sizes, q, k, v, dctx, task.lse_BHS.data(), delta,
                                                                   cuda::view(task.dk_TGC), cuda::view(task.dv_TGC)});
  });
}

template <class P>
std::string refused_by_tiles(const AttentionForward<P>& task) {
  return refuses_heads(task, task.ctx_THC);
}

template <class P>
std::string refused_by_tiles(const AttentionBackward<P>& task) {
  return refuses_heads(task, task.ctx_THC, task.dctx_THC, task.dq_THC, task.dk_TGC, task.dv_TGC);
}

template <class P>
void by_tiles(const AttentionForward<P>& task, Context&) {
  if constexpr (std::is_same_v<P, Bf16>)
    at_width(task.shape.heads.C, [&]<int64_t width>() {
      cuda::launch(cuda::AttentionForwardTilesKernel<static_cast<int>(width)>{
          device_sizes(task.shape), cuda::view(task.q_THC), cuda::view(task.k_TGC), cuda::view(task.v_TGC),
          cuda::view(task.ctx_THC), task.lse_BHS.data()});
    });
}

template <class P>
void by_tiles(const AttentionBackward<P>& task, Context& context) {
  if constexpr (std::is_same_v<P, Bf16>) {
    const cuda::AttentionSizes sizes = device_sizes(task.shape);
    const Context::Lease lease(context, sizes.B * sizes.H * sizes.S * static_cast<int64_t>(sizeof(float)));
    float* const delta = lease.as<float>();
    const cuda::View<const bf16> q = cuda::view(task.q_THC), k = cuda::view(task.k_TGC), v = cuda::view(task.v_TGC);
    const cuda::View<const bf16> dctx = cuda::view(task.dctx_THC);
    at_width(sizes.C, [&]<int64_t width>() {
      constexpr auto kWidth = static_cast<int>(width);
      cuda::launch(cuda::AttentionQueryGradientTilesKernel<kWidth>{
          sizes, q, k, v, cuda::view(task.ctx_THC), dctx, task.lse_BHS.data(), delta, cuda::view(task.dq_THC)});
      cuda::launch(cuda::AttentionKeyGradientTilesKernel<kWidth>{sizes, q, k, v, dctx, task.lse_BHS.data(), delta,
                                                                 cuda::view(task.dk_TGC), cuda::view(task.dv_TGC)});
    });
  }
}

template <class P>
void on_cuda(const AttentionDecode<P>& task, Context& context) {
  using operand = typename P::operand;
  std::vector<cuda::DecodeSegment<operand>> segments;
  std::vector<cuda::DecodeQuery<operand>> queries;
  for (const DecodeSequence<P>& sequence : task.sequences) {
    const auto first_segment = static_cast<int64_t>(segments.size());
    int64_t keys = 0;
    for (const KvSegment<operand>& segment : sequence.past) {
      segments.push_back({cuda::view(segment.k_LGC), cuda::view(segment.v_LGC), keys});
      keys += segment.k_LGC.rows;
    }
    const int64_t N = sequence.q_NHC.rows, num_segments = static_cast<int64_t>(segments.size()) - first_segment;
    for (int64_t n = 0; n < N; ++n)
      queries.push_back({sequence.q_NHC.rows_from(n, 1).data, sequence.ctx_NHC.rows_from(n, 1).data, keys - N + n,
                         first_segment, num_segments});
  }
  const auto size_of_all = [](const auto& all) { return static_cast<int64_t>(all.size() * sizeof(all[0])); };
  const Context::Lease segment_lease(context, size_of_all(segments)), query_lease(context, size_of_all(queries));
  cuda::copy(segments.data(), segment_lease.as<cuda::DecodeSegment<operand>>(), static_cast<int64_t>(segments.size()));
  cuda::copy(queries.data(), query_lease.as<cuda::DecodeQuery<operand>>(), static_cast<int64_t>(queries.size()));
  cuda::launch(cuda::AttentionDecodeKernel<operand>{
      .num_queries = static_cast<int64_t>(queries.size()),
      .H = task.heads.H,
      .G = task.heads.G,
      .C = task.heads.C,
      .window = task.heads.window,
      .scale = static_cast<float>(task.heads.scale),
      .segments = segment_lease.as<cuda::DecodeSegment<operand>>(),
      .queries = query_lease.as<cuda::DecodeQuery<operand>>(),
  });
}

#define TROUPE_INSTANTIATE(P)                                         \
  template std::string refused_by_tiles(const AttentionForward<P>&);  \
  template std::string refused_by_tiles(const AttentionBackward<P>&); \
  template void by_tiles(const AttentionForward<P>&, Context&);       \
  template void by_tiles(const AttentionBackward<P>&, Context&);      \
  template void on_cuda(const AttentionForward<P>&, Context&);        \
  template void on_cuda(const AttentionBackward<P>&, Context&);       \
  template void on_cuda(const AttentionDecode<P>&, Context&);
TROUPE_INSTANTIATE(F32)
TROUPE_INSTANTIATE(Bf16)
#undef TROUPE_INSTANTIATE

}  // namespace troupe
