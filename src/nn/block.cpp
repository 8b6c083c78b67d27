#include "nn/block.h"

#include "ops/layer_norm.h"
#include "ops/rms_norm.h"
#include "ops/route/policy.h"

namespace troupe {

template <class P>
void NormLayer<P>::Activations::plan(Arena& arena, const NormSpec& spec, int64_t T) {
  if (spec.kind == Norm::kLayer) mean_T = arena.span<real>("norm.mean", T);
  rstd_T = arena.span<real>("norm.rstd", T);
  y_TD = arena.matrix<operand>("norm.y", T, spec.width);
}

template <class P>
void NormLayer<P>::normalise(Matrix<const real> x_TD, Activations& acts, Matrix<operand> y_TD,
                             Matrix<real> y_real_TD) const {
  if (spec.kind == Norm::kRms)
    return run(RmsNormForward<P>{.x_TD = x_TD,
                                 .gamma_D = params->at(slots.weight),
                                 .epsilon = spec.epsilon,
                                 .y_TD = y_TD,
                                 .y_real_TD = y_real_TD,
                                 .rstd_T = acts.rstd_T});
  run(LayerNormForward<P>{.x_TD = x_TD,
                          .gamma_D = params->at(slots.weight),
                          .beta_D = params->at(slots.bias),
                          .epsilon = spec.epsilon,
                          .y_TD = y_TD,
                          .y_real_TD = y_real_TD,
                          .mean_T = acts.mean_T,
                          .rstd_T = acts.rstd_T});
}

template <class P>
void NormLayer<P>::backward(Matrix<const real> x_TD, const Activations& acts, Matrix<const real> dy_TD,
                            Matrix<real> dx_TD, ParameterStore<real>& grads, RoundedGradient<P>* rounded) const {
  if (spec.kind == Norm::kRms)
    return run(RmsNormBackward<P>{.x_TD = x_TD,
                                  .gamma_D = params->at(slots.weight),
                                  .rstd_T = acts.rstd_T,
                                  .dy_TD = dy_TD,
                                  .dx_TD = dx_TD,
                                  .dgamma_D = grads.at(slots.weight),
                                  .rounded = rounded});
  run(LayerNormBackward<P>{.x_TD = x_TD,
                           .gamma_D = params->at(slots.weight),
                           .mean_T = acts.mean_T,
                           .rstd_T = acts.rstd_T,
                           .dy_TD = dy_TD,
                           .dx_TD = dx_TD,
                           .dgamma_D = grads.at(slots.weight),
                           .dbeta_D = grads.at(slots.bias),
                           .rounded = rounded});
}

template <class P>
void Scratch<P>::plan(Arena& arena, const ScratchSpec& spec, int64_t T, bool backward) {
  const int64_t D = spec.d_model, E = spec.routing.num_experts;
  const bool sparse = E > 0;
  if (sparse) logits_TE = arena.matrix<real>("scratch.logits", T, E);
  if (spec.norm_after) branch_TD = arena.matrix<real>("scratch.branch", T, D);
  if (!backward) return;
  dnorm_TD = arena.matrix<real>("scratch.dnorm", T, D);
  dy_TD = arena.matrix<operand>("scratch.dy", T, D);
  dctx_THC = arena.matrix<operand>("scratch.dctx", T, spec.query_width);
  dqkv = arena.matrix<operand>("scratch.dqkv", T, spec.query_width + 2 * spec.kv_width);
  if (spec.parallel) dout_TD = arena.matrix<real>("scratch.dout", T, D);
  if (spec.ffn_width > 0) dhidden_TF = arena.matrix<operand>("scratch.dhidden", T, spec.ffn_width);
  if (!sparse) return;
  const int64_t R = router_policy(spec.routing).max_rows(spec.routing, T);
  dye_RD = arena.matrix<operand>("scratch.dye", R, D);
  dhidden_RF = arena.matrix<operand>("scratch.dhidden_experts", R, spec.expert_width);
  dxe_RD = arena.matrix<real>("scratch.dxe", R, D);
  dweight_R = arena.span<real>("scratch.dweight", R);
  if (spec.routing.router_precision == RouterOperand::kModel)
    dlogits_TE = arena.matrix<operand>("scratch.dlogits", T, E);
  if (spec.shared_width == 0) return;
  dhidden_shared_TF = arena.matrix<operand>("scratch.dhidden_shared", T, spec.shared_width);
  dshared_TD = arena.matrix<real>("scratch.dshared", T, D);
  dgate_T1 = arena.matrix<real>("scratch.dgate", T, 1);
}

#define TROUPE_INSTANTIATE(P)   \
  template struct NormLayer<P>; \
  template struct Scratch<P>;
TROUPE_INSTANTIATE(F64)
TROUPE_INSTANTIATE(F32)
TROUPE_INSTANTIATE(Bf16)
#undef TROUPE_INSTANTIATE

}  // namespace troupe
