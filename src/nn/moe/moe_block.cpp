#include "nn/moe/moe_block.h"

#include "ops/moe_rows.h"

namespace troupe {

template <class P>
void MoeBlock<P>::Activations::plan(Arena& arena, const MoeSpec& spec, int64_t T) {
  const int64_t D = spec.d_model, F = spec.d_ff, R = T * spec.routing.top_k;
  norm.plan(arena, T, D);
  router_in_TD = arena.matrix<real>("moe.router_in", T, D);
  routing.plan(arena, T, spec.routing);
  plan_rows.plan(arena, T, spec.routing.top_k);
  xe_RD = arena.matrix<operand>("moe.xe", R, D);
  pre_RF = arena.matrix<operand>("moe.pre", R, F);
  hidden_RF = arena.matrix<operand>("moe.hidden", R, F);
  ye_RD = arena.matrix<real>("moe.ye", R, D);
}

template <class P>
MoeBlock<P>::MoeBlock(const MoeSpec& spec, const MoeSlots& slots, const ParameterStore<real>& params)
    : spec_(spec),
      norm_(params, slots.norm),
      router_(params, {.weight = slots.router}, 1, spec.routing.num_experts, spec.d_model),
      fc1_(params, slots.fc1, spec.routing.num_experts, spec.d_ff, spec.d_model),
      fc2_(params, slots.fc2, spec.routing.num_experts, spec.d_model, spec.d_ff) {}

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
RouterStats MoeBlock<P>::forward(const SequenceShape& shape, const RunMode& mode, Matrix<const real> x_TD,
                                 Activations& acts, Matrix<real> out_TD, Scratch<P>& scratch) const {
  norm_.forward(x_TD, acts.norm, acts.router_in_TD);
  router_.forward(acts.router_in_TD, {}, {.out_real = scratch.logits_TE});
  RouterStats stats = route<real>(spec_.routing, scratch.logits_TE, groups(shape), mode, spec_.layer, acts.routing);
  build(acts.routing, acts.plan_rows);

  const int64_t R = acts.plan_rows.num_rows(), K = spec_.routing.top_k;
  const RowOffsets offsets = acts.plan_rows.offsets;
  const Matrix<operand> xe = acts.xe_RD.rows_from(0, R), pre = acts.pre_RF.rows_from(0, R),
                        hidden = acts.hidden_RF.rows_from(0, R);
  gather_rows<P>(acts.norm.y_TD, acts.plan_rows.source_of_R, R, K, xe);
  fc1_.forward(xe, offsets,
               {.out_operand = hidden,
                .gelu = true,
                .gelu_kind = spec_.gelu,
                .pre_activation = mode.training ? pre : Matrix<operand>()});
  fc2_.forward(hidden, offsets, {.out_real = acts.ye_RD.rows_from(0, R)});
  combine_rows<P>(x_TD, acts.ye_RD, acts.plan_rows.row_of_TK, acts.routing.weight_TK, K, out_dropout(mode), out_TD);
  return stats;
}

template <class P>
void MoeBlock<P>::backward(const SequenceShape& shape, const RunMode& mode, Matrix<const real> x_TD,
                           const Activations& acts, std::span<const double> aux_scale, Matrix<real> dx_TD,
                           ParameterStore<real>& grads, Scratch<P>& scratch) const {
  const int64_t R = acts.plan_rows.num_rows(), K = spec_.routing.top_k;
  const RowOffsets offsets = acts.plan_rows.offsets;
  const Matrix<operand> dye = scratch.dye_RD.rows_from(0, R), dhidden = scratch.dhidden_RF.rows_from(0, R);
  const Matrix<real> dxe = scratch.dxe_RD.rows_from(0, R);
  combine_rows_backward<P>(dx_TD, acts.ye_RD, acts.plan_rows.row_of_TK, acts.routing.weight_TK, K, out_dropout(mode),
                           dye, scratch.dweight_TK);
  fc2_.backward_weight(dye, acts.hidden_RF.rows_from(0, R), offsets, grads);
  fc2_.backward_input(dye, offsets,
                      {.out_operand = dhidden, .pre_activation = acts.pre_RF.rows_from(0, R), .gelu_kind = spec_.gelu});
  fc1_.backward_weight(dhidden, acts.xe_RD.rows_from(0, R), offsets, grads);
  fc1_.backward_input(dhidden, offsets, {.out_real = dxe});

  route_backward<real>(spec_.routing, acts.routing, groups(shape), scratch.dweight_TK, aux_scale, scratch.logits_TE);
  router_.backward_weight(scratch.logits_TE, acts.router_in_TD, {}, grads);
  router_.backward_input(scratch.logits_TE, {}, {.out_real = scratch.dnorm_TD});
  gather_rows_backward<P>(dxe, acts.plan_rows.row_of_TK, K, scratch.dnorm_TD);
  norm_.backward(x_TD, acts.norm, scratch.dnorm_TD, dx_TD, grads);
}

template class MoeBlock<F64>;
template class MoeBlock<F32>;
template class MoeBlock<Bf16>;

}  // namespace troupe
