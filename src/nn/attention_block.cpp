#include "nn/attention_block.h"

#include "ops/rms_norm.h"
#include "ops/rotary.h"

namespace troupe {
namespace {

// Queries, keys and values of the rows of one matrix.
template <class T>
QueryKeyValue<T> split(const Matrix<T>& qkv, const AttentionSpec& spec) {
  const int64_t q = spec.query_width(), kv = spec.kv_width();
  return {qkv.columns_from(0, q), qkv.columns_from(q, kv), qkv.columns_from(q + kv, kv)};
}

}  // namespace

template <class P>
void AttentionBlock<P>::Activations::plan(Arena& arena, const AttentionSpec& spec, int64_t T) {
  sublayer.plan(arena, spec.sublayer, T);
  qkv = arena.matrix<operand>("attn.qkv", T, spec.qkv_width());
  ctx_THC = arena.matrix<operand>("attn.ctx", T, spec.query_width());
  lse_BHS = arena.span<real>("attn.lse", T * spec.heads.H);
  if (spec.qk_norm == QkNorm::kNone) return;
  const bool whole = spec.qk_norm == QkNorm::kWhole;
  qk = arena.matrix<operand>("attn.qk", T, spec.query_width() + spec.kv_width());
  q_rstd_TN = arena.span<real>("attn.q_rstd", T * (whole ? 1 : spec.heads.H));
  k_rstd_TN = arena.span<real>("attn.k_rstd", T * (whole ? 1 : spec.heads.G));
}

template <class P>
AttentionBlock<P>::AttentionBlock(const AttentionSpec& spec, const AttentionSlots& slots,
                                  const ParameterStore<real>& params)
    : spec_(spec),
      slots_(slots),
      params_(&params),
      sublayer_(spec.sublayer, slots.norm, params),
      qkv_proj_(params, slots.qkv_proj, 1, spec.qkv_width(), spec.d_model),
      out_proj_(params, slots.out_proj, 1, spec.d_model, spec.query_width()) {}

template <class P>
AttentionShape AttentionBlock<P>::attention_shape(const Pass<P>& pass) const {
  AttentionShape attention;
  attention.B = pass.shape.B, attention.S = pass.shape.S, attention.heads = heads();
  attention.key_valid = pass.shape.token_valid;
  attention.key_end = pass.shape.key_end;
  attention.dropout = pass.mode.dropout(spec_.weight_dropout, spec_.layer, RunMode::kAttentionWeights,
                                        pass.mode.first_token * spec_.heads.H);
  return attention;
}

template <class P>
Dropout AttentionBlock<P>::out_dropout(const RunMode& mode) const {
  return sublayer_.dropout(mode, spec_.layer, RunMode::kAttentionOut, mode.first_token);
}

template <class P>
QueryKeyValue<const typename P::operand> AttentionBlock<P>::attended(const Activations& acts) const {
  QueryKeyValue<const operand> in = split<const operand>(acts.qkv, spec_);
  if (acts.qk) {
    in.q_THC = acts.qk.columns_from(0, spec_.query_width());
    in.k_TGC = acts.qk.columns_from(spec_.query_width(), spec_.kv_width());
  }
  return in;
}

template <class P>
QueryKeyValue<const typename P::operand> AttentionBlock<P>::project(const Pass<P>& pass, Matrix<const real> x_TD,
                                                                    Activations& acts) const {
  const int64_t q = spec_.query_width(), kv = spec_.kv_width();
  sublayer_.input(x_TD, acts.sublayer);
  qkv_proj_.forward(acts.sublayer.norm.y_TD, {}, {.out_operand = acts.qkv}, pass.mode);
  if (acts.qk) {
    const auto norm = [&](int64_t begin, int64_t count, Slot gamma, std::span<real> rstd_TN) {
      run(HeadNormForward<P>{.x_TNC = acts.qkv.columns_from(begin, count),
                             .gamma_C = params_->at(gamma),
                             .epsilon = spec_.norm_epsilon,
                             .y_TNC = acts.qk.columns_from(begin, count),
                             .rstd_TN = rstd_TN});
    };
    norm(0, q, slots_.q_norm, acts.q_rstd_TN);
    norm(q, kv, slots_.k_norm, acts.k_rstd_TN);
  }
  if (spec_.rotary_width > 0)
    run(Rotary<P>{.x_TNC = (acts.qk ? acts.qk : acts.qkv).columns_from(0, q + kv),
                  .C = spec_.heads.C,
                  .positions_T = pass.positions_T,
                  .table_PR = pass.rotary_PR});
  return attended(acts);
}

template <class P>
void AttentionBlock<P>::finish(const Pass<P>& pass, Matrix<const real> residual_TD, Activations& acts,
                               Matrix<real> out_TD) const {
  out_proj_.forward(acts.ctx_THC, {}, sublayer_.output(acts.sublayer, residual_TD, out_dropout(pass.mode), out_TD),
                    pass.mode);
  sublayer_.finish(pass, acts.sublayer, residual_TD, out_TD);
}

template <class P>
void AttentionBlock<P>::forward(const Pass<P>& pass, Matrix<const real> x_TD, Matrix<const real> residual_TD,
                                Activations& acts, Matrix<real> out_TD) const {
  const auto [q_THC, k_TGC, v_TGC] = project(pass, x_TD, acts);
  run(AttentionForward<P>{.shape = attention_shape(pass),
                          .q_THC = q_THC,
                          .k_TGC = k_TGC,
                          .v_TGC = v_TGC,
                          .ctx_THC = acts.ctx_THC,
                          .lse_BHS = acts.lse_BHS});
  finish(pass, residual_TD, acts, out_TD);
}

template <class P>
void AttentionBlock<P>::norm_backward(const Activations& acts, QueryKeyValue<operand> gradient,
                                      ParameterStore<real>& grads) const {
  const auto [q_THC, k_TGC, v_TGC] = split<const operand>(acts.qkv, spec_);
  run(HeadNormBackward<P>{.x_TNC = q_THC,
                          .gamma_C = params_->at(slots_.q_norm),
                          .rstd_TN = acts.q_rstd_TN,
                          .dy_TNC = gradient.q_THC,
                          .dgamma_C = grads.at(slots_.q_norm)});
  run(HeadNormBackward<P>{.x_TNC = k_TGC,
                          .gamma_C = params_->at(slots_.k_norm),
                          .rstd_TN = acts.k_rstd_TN,
                          .dy_TNC = gradient.k_TGC,
                          .dgamma_C = grads.at(slots_.k_norm)});
}

template <class P>
RoundedGradient<P> AttentionBlock<P>::wants(const Pass<P>& pass, ParameterStore<real>& grads) const {
  return sublayer_.wants(pass, out_dropout(pass.mode), out_proj_.bias_sums(grads));
}

template <class P>
void AttentionBlock<P>::backward(const Pass<P>& pass, Matrix<const real> x_TD, Matrix<const real> dout_TD,
                                 const Activations& acts, Matrix<real> dx_TD, ParameterStore<real>& grads) const {
  Scratch<P>& scratch = pass.scratch;
  const bool bias_is_added =
      sublayer_.round_output_gradient(pass, acts.sublayer, dout_TD, out_dropout(pass.mode), grads);
  out_proj_.backward_weight(scratch.dy_TD, acts.ctx_THC, {}, grads, pass.mode, bias_is_added);
  out_proj_.backward_input(scratch.dy_TD, {}, {.out_operand = scratch.dctx_THC}, pass.mode);
  const auto [q_THC, k_TGC, v_TGC] = attended(acts);
  const QueryKeyValue<operand> gradient = split(scratch.dqkv, spec_);
  run(AttentionBackward<P>{.shape = attention_shape(pass),
                           .q_THC = q_THC,
                           .k_TGC = k_TGC,
                           .v_TGC = v_TGC,
                           .ctx_THC = acts.ctx_THC,
                           .lse_BHS = acts.lse_BHS,
                           .dctx_THC = scratch.dctx_THC,
                           .dq_THC = gradient.q_THC,
                           .dk_TGC = gradient.k_TGC,
                           .dv_TGC = gradient.v_TGC});
  if (spec_.rotary_width > 0)
    run(Rotary<P>{.x_TNC = scratch.dqkv.columns_from(0, spec_.query_width() + spec_.kv_width()),
                  .C = spec_.heads.C,
                  .positions_T = pass.positions_T,
                  .table_PR = pass.rotary_PR,
                  .backward = true});
  if (acts.qk) norm_backward(acts, gradient, grads);
  qkv_proj_.backward_weight(scratch.dqkv, acts.sublayer.norm.y_TD, {}, grads, pass.mode);
  qkv_proj_.backward_input(scratch.dqkv, {}, {.out_real = scratch.dnorm_TD}, pass.mode);
  sublayer_.add_input_gradient(pass, x_TD, acts.sublayer, dx_TD, grads);
}

template class AttentionBlock<F64>;
template class AttentionBlock<F32>;
template class AttentionBlock<Bf16>;

}  // namespace troupe
