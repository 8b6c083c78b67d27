#include "nn/mlp.h"

namespace troupe {

template <class P>
void Mlp<P>::Activations::plan(Arena& arena, const MlpSpec& spec, int64_t R) {
  pre_RF = arena.matrix<operand>("mlp.pre", R, spec.d_ff);
  hidden_RF = arena.matrix<operand>("mlp.hidden", R, spec.d_ff);
}

template <class P>
Mlp<P>::Mlp(const MlpSpec& spec, const MlpSlots& slots, const ParameterStore<real>& params)
    : activation_(spec.activation),
      fc1_(params, slots.fc1, spec.num_experts, spec.d_ff, spec.d_model),
      fc2_(params, slots.fc2, spec.num_experts, spec.d_model, spec.d_ff) {}

template <class P>
void Mlp<P>::forward(Matrix<const operand> x_RD, RowOffsets offsets, bool keep_for_backward, Activations& acts,
                     const ForwardEpilogue<P>& out) const {
  const int64_t R = x_RD.rows;
  fc1_.forward(x_RD, offsets,
               {.out_operand = acts.hidden_RF.rows_from(0, R),
                .activation = activation_,
                .pre_activation = keep_for_backward ? acts.pre_RF.rows_from(0, R) : Matrix<operand>()});
  fc2_.forward(acts.hidden_RF.rows_from(0, R), offsets, out);
}

template <class P>
void Mlp<P>::backward(Matrix<const operand> dy_RD, Matrix<const operand> x_RD, RowOffsets offsets,
                      const Activations& acts, Matrix<operand> dhidden_RF, Matrix<real> dx_RD,
                      ParameterStore<real>& grads) const {
  const int64_t R = x_RD.rows;
  fc2_.backward_weight(dy_RD, acts.hidden_RF.rows_from(0, R), offsets, grads);
  fc2_.backward_input(
      dy_RD, offsets,
      {.out_operand = dhidden_RF, .activation = activation_, .pre_activation = acts.pre_RF.rows_from(0, R)});
  fc1_.backward_weight(dhidden_RF, x_RD, offsets, grads);
  fc1_.backward_input(dhidden_RF, offsets, {.out_real = dx_RD});
}

template class Mlp<F64>;
template class Mlp<F32>;
template class Mlp<Bf16>;

}  // namespace troupe
