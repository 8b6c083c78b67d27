#include "nn/attention_block.h"

#include <cmath>

#include "ops/elementwise.h"

namespace troupe {

AttentionHeads AttentionSpec::heads() const {
  const int64_t C = d_model / num_heads;
  return {.H = num_heads, .G = num_heads, .C = C, .scale = 1.0 / std::sqrt(static_cast<double>(C))};
}

template <class P>
void AttentionBlock<P>::Activations::plan(Arena& arena, const AttentionSpec& spec, int64_t T) {
  norm.plan(arena, T, spec.d_model);
  qkv_T3D = arena.matrix<operand>("attn.qkv", T, 3 * spec.d_model);
  ctx_TD = arena.matrix<operand>("attn.ctx", T, spec.d_model);
  lse_BHS = arena.span<real>("attn.lse", T * spec.num_heads);
}

template <class P>
AttentionBlock<P>::AttentionBlock(const AttentionSpec& spec, const AttentionSlots& slots,
                                  const ParameterStore<real>& params)
    : spec_(spec),
      norm_(params, slots.norm),
      qkv_proj_(params, slots.qkv_proj, 1, 3 * spec.d_model, spec.d_model),
      out_proj_(params, slots.out_proj, 1, spec.d_model, spec.d_model) {}

template <class P>
AttentionShape AttentionBlock<P>::attention_shape(const Pass<P>& pass) const {
  AttentionShape attention;
  attention.B = pass.shape.B, attention.S = pass.shape.S, attention.heads = heads();
  attention.key_valid = pass.shape.token_valid;
  attention.dropout = pass.mode.dropout(spec_.weight_dropout, spec_.layer, RunMode::kAttentionWeights,
                                        pass.mode.first_token * spec_.num_heads);
  return attention;
}

template <class P>
Dropout AttentionBlock<P>::out_dropout(const RunMode& mode) const {
  return mode.dropout(spec_.dropout, spec_.layer, RunMode::kAttentionOut, mode.first_token);
}

template <class P>
template <class T>
QueryKeyValue<T> AttentionBlock<P>::split(Matrix<T> qkv_T3D) const {
  const int64_t D = spec_.d_model;
  const auto third = [&](int64_t n) { return Matrix<T>(qkv_T3D.data + n * D, qkv_T3D.rows, D, qkv_T3D.stride); };
  return {third(0), third(1), third(2)};
}

template <class P>
QueryKeyValue<const typename P::operand> AttentionBlock<P>::project(Matrix<const real> x_TD,
                                                                    Activations& acts) const {
  norm_.forward(x_TD, acts.norm);
  qkv_proj_.forward(acts.norm.y_TD, {}, {.out_operand = acts.qkv_T3D});
  // Ops on queries and keys alone: here, in place.
  return split<const operand>(acts.qkv_T3D);
}

template <class P>
void AttentionBlock<P>::forward(const Pass<P>& pass, Matrix<const real> x_TD, Activations& acts,
                                Matrix<real> out_TD) const {
  const auto [q_THC, k_TGC, v_TGC] = project(x_TD, acts);
  run(AttentionForward<P>{.shape = attention_shape(pass),
                          .q_THC = q_THC,
                          .k_TGC = k_TGC,
                          .v_TGC = v_TGC,
                          .ctx_THC = acts.ctx_TD,
                          .lse_BHS = acts.lse_BHS});
  out_proj_.forward(acts.ctx_TD, {}, {.out_real = out_TD, .residual = x_TD, .dropout = out_dropout(pass.mode)});
}

template <class P>
void AttentionBlock<P>::backward(const Pass<P>& pass, Matrix<const real> x_TD, const Activations& acts,
                                 Matrix<real> dx_TD, ParameterStore<real>& grads) const {
  Scratch<P>& scratch = pass.scratch;
  run(DropoutBackward<P>{.dx = dx_TD, .dropout = out_dropout(pass.mode), .dy = scratch.dy_TD});
  out_proj_.backward_weight(scratch.dy_TD, acts.ctx_TD, {}, grads);
  out_proj_.backward_input(scratch.dy_TD, {}, {.out_operand = scratch.dctx_TD});
  const auto [q_THC, k_TGC, v_TGC] = split<const operand>(acts.qkv_T3D);
  const auto [dq_THC, dk_TGC, dv_TGC] = split(scratch.dqkv_T3D);
  run(AttentionBackward<P>{.shape = attention_shape(pass),
                           .q_THC = q_THC,
                           .k_TGC = k_TGC,
                           .v_TGC = v_TGC,
                           .ctx_THC = acts.ctx_TD,
                           .lse_BHS = acts.lse_BHS,
                           .dctx_THC = scratch.dctx_TD,
                           .dq_THC = dq_THC,
                           .dk_TGC = dk_TGC,
                           .dv_TGC = dv_TGC});
  // The way back through the ops at the end of project(), last one first: here.
  qkv_proj_.backward_weight(scratch.dqkv_T3D, acts.norm.y_TD, {}, grads);
  qkv_proj_.backward_input(scratch.dqkv_T3D, {}, {.out_real = scratch.dnorm_TD});
  norm_.backward(x_TD, acts.norm, scratch.dnorm_TD, dx_TD, grads);
}

template class AttentionBlock<F64>;
template class AttentionBlock<F32>;
template class AttentionBlock<Bf16>;

}  // namespace troupe
