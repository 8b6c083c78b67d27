#include "nn/moe/moe_block.h"

#include "ops/moe_rows.h"

namespace troupe {

template <class P>
void MoeBlock<P>::Activations::plan(Arena& arena, const MoeSpec& spec, int64_t T) {
  const int64_t D = spec.mlp.d_model, R = T * spec.routing.top_k;
  norm.plan(arena, T, D);
  router_in_TD = arena.matrix<real>("moe.router_in", T, D);
  routing.plan(arena, T, spec.routing);
  plan_rows.plan(arena, T, spec.routing.top_k);
  xe_RD = arena.matrix<operand>("moe.xe", R, D);
  mlp.plan(arena, spec.mlp, R);
  ye_RD = arena.matrix<real>("moe.ye", R, D);
}

template <class P>
MoeBlock<P>::MoeBlock(const MoeSpec& spec, const MoeSlots& slots, const ParameterStore<real>& params)
    : spec_(spec),
      norm_(params, slots.norm),
      router_(params, {.weight = slots.router}, 1, spec.routing.num_experts, spec.mlp.d_model),
      mlp_(spec.mlp, slots.mlp, params) {}

int64_t routing_group_tokens(const MoeConfig& config, const SequenceShape& shape) {
  return config.group_sequences > 0 ? config.group_sequences * shape.S : shape.tokens();
}

template <class P>
RoutingGroups MoeBlock<P>::groups(const SequenceShape& shape) const {
  return {routing_group_tokens(spec_.routing, shape), shape.token_valid};
}

template <class P>
Dropout MoeBlock<P>::out_dropout(const RunMode& mode) const {
  return mode.dropout(spec_.dropout, spec_.layer, RunMode::kFfnOut, mode.first_token * spec_.routing.top_k);
}

template <class P>
void MoeBlock<P>::forward(const Pass<P>& pass, Matrix<const real> x_TD, Activations& acts, Matrix<real> out_TD) const {
  const Matrix<real> logits_TE = pass.scratch.logits_TE;
  norm_.forward(x_TD, acts.norm, acts.router_in_TD);
  router_.forward(acts.router_in_TD, {}, {.out_real = logits_TE});
  RouterStats stats = route<real>(spec_.routing, logits_TE, groups(pass.shape), pass.mode, spec_.layer, acts.routing);
  build(acts.routing, acts.plan_rows);

  const int64_t R = acts.plan_rows.num_rows(), K = spec_.routing.top_k;
  const Matrix<operand> xe = acts.xe_RD.rows_from(0, R);
  run(GatherRows<P>{.x_TD = acts.norm.y_TD, .source_of_R = acts.plan_rows.source_of_R, .K = K, .xe_RD = xe});
  mlp_.forward(xe, acts.plan_rows.offsets, pass.mode.training, acts.mlp, {.out_real = acts.ye_RD.rows_from(0, R)});
  run(CombineRows<P>{.residual_TD = x_TD,
                     .ye_RD = acts.ye_RD,
                     .row_of_TK = acts.plan_rows.row_of_TK,
                     .weight_TK = acts.routing.weight_TK,
                     .K = K,
                     .dropout = out_dropout(pass.mode),
                     .out_TD = out_TD});
  if (pass.reports) pass.reports->push_back(std::move(stats));
}

template <class P>
void MoeBlock<P>::backward(const Pass<P>& pass, Matrix<const real> x_TD, const Activations& acts, Matrix<real> dx_TD,
                           ParameterStore<real>& grads) const {
  Scratch<P>& scratch = pass.scratch;
  const int64_t R = acts.plan_rows.num_rows(), K = spec_.routing.top_k;
  const Matrix<operand> dye = scratch.dye_RD.rows_from(0, R);
  const Matrix<real> dxe = scratch.dxe_RD.rows_from(0, R), dlogits_TE = scratch.logits_TE;
  run(CombineRowsBackward<P>{.dout_TD = dx_TD,
                             .ye_RD = acts.ye_RD,
                             .row_of_TK = acts.plan_rows.row_of_TK,
                             .weight_TK = acts.routing.weight_TK,
                             .K = K,
                             .dropout = out_dropout(pass.mode),
                             .dye_RD = dye,
                             .dweight_TK = scratch.dweight_TK});
  mlp_.backward(dye, acts.xe_RD.rows_from(0, R), acts.plan_rows.offsets, acts.mlp, scratch.dhidden_RF.rows_from(0, R),
                dxe, grads);
  route_backward<real>(spec_.routing, acts.routing, groups(pass.shape), scratch.dweight_TK, pass.aux_scale, dlogits_TE);
  router_.backward_weight(dlogits_TE, acts.router_in_TD, {}, grads);
  router_.backward_input(dlogits_TE, {}, {.out_real = scratch.dnorm_TD});
  run(GatherRowsBackward<P>{.dxe_RD = dxe, .row_of_TK = acts.plan_rows.row_of_TK, .K = K, .dx_TD = scratch.dnorm_TD});
  norm_.backward(x_TD, acts.norm, scratch.dnorm_TD, dx_TD, grads);
}

template class MoeBlock<F64>;
template class MoeBlock<F32>;
template class MoeBlock<Bf16>;

}  // namespace troupe
