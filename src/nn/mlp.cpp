#include "nn/mlp.h"

#include "ops/gate.h"

namespace troupe {

template <class P>
void Mlp<P>::Activations::plan(Arena& arena, const MlpSpec& spec, int64_t R) {
  pre_RF = arena.matrix<operand>("mlp.pre", R, spec.fc1_width());
  hidden_RF = arena.matrix<operand>("mlp.hidden", R, spec.d_ff);
}

template <class P>
Mlp<P>::Mlp(const MlpSpec& spec, const MlpSlots& slots, const ParameterStore<real>& params)
    : spec_(spec),
      fc1_(params, slots.fc1, spec.num_experts, spec.fc1_width(), spec.d_model),
      fc2_(params, slots.fc2, spec.num_experts, spec.d_model, spec.d_ff) {}

template <class P>
void Mlp<P>::forward(Matrix<const operand> x_RD, RowOffsets offsets, const RunMode& mode, Activations& acts,
                     const ForwardEpilogue<P>& out) const {
  const int64_t R = x_RD.rows;
  const Matrix<operand> pre = acts.pre_RF.rows_from(0, R), hidden = acts.hidden_RF.rows_from(0, R);
  if (spec_.gated) {
    fc1_.forward(x_RD, offsets, {.out_operand = pre}, mode);
    run(GateForward<P>{spec_.activation, pre, hidden});
  } else {
    fc1_.forward(x_RD, offsets,
                 {.out_operand = hidden,
                  .activation = spec_.activation,
                  .pre_activation = mode.training ? pre : Matrix<operand>()},
                 mode);
  }
  fc2_.forward(hidden, offsets, out, mode);
}

template <class P>
void Mlp<P>::backward(Matrix<const operand> dy_RD, Matrix<const operand> x_RD, RowOffsets offsets, const RunMode& mode,
                      const Activations& acts, Matrix<operand> work_RF, Matrix<real> dx_RD,
                      ParameterStore<real>& grads, bool out_bias_is_added) const {
  const int64_t R = x_RD.rows, F = spec_.d_ff;
  const Matrix<const operand> pre = acts.pre_RF.rows_from(0, R);
  Matrix<operand> dfc1(work_RF.data, R, spec_.fc1_width(), work_RF.stride);
  BiasSums<real> of_dfc1 = fc1_.bias_sums(grads);
  fc2_.backward_weight(dy_RD, acts.hidden_RF.rows_from(0, R), offsets, grads, mode, out_bias_is_added);
  if (spec_.gated) {
    const Matrix<operand> dhidden(work_RF.data + 2 * F, R, F, work_RF.stride);
    fc2_.backward_input(dy_RD, offsets, {.out_operand = dhidden}, mode);
    run(GateBackward<P>{spec_.activation, pre, dhidden, dfc1});
  } else {
    fc2_.backward_input(dy_RD, offsets,
                        {.out_operand = dfc1,
                         .activation = spec_.activation,
                         .pre_activation = pre,
                         .bias_sums = &of_dfc1},
                        mode);
  }
  fc1_.backward_weight(dfc1, x_RD, offsets, grads, mode, of_dfc1.added);
  fc1_.backward_input(dfc1, offsets, {.out_real = dx_RD}, mode);
}

template class Mlp<F64>;
template class Mlp<F32>;
template class Mlp<Bf16>;

}  // namespace troupe
