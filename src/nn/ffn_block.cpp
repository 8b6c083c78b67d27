#include "nn/ffn_block.h"

#include "ops/elementwise.h"

namespace troupe {

template <class P>
void FfnBlock<P>::Activations::plan(Arena& arena, const FfnSpec& spec, int64_t T) {
  norm.plan(arena, T, spec.d_model);
  pre_TF = arena.matrix<operand>("ffn.pre", T, spec.d_ff);
  hidden_TF = arena.matrix<operand>("ffn.hidden", T, spec.d_ff);
}

template <class P>
FfnBlock<P>::FfnBlock(const FfnSpec& spec, const FfnSlots& slots, const ParameterStore<real>& params)
    : spec_(spec),
      norm_(params, slots.norm),
      fc1_(params, slots.fc1, 1, spec.d_ff, spec.d_model),
      fc2_(params, slots.fc2, 1, spec.d_model, spec.d_ff) {}

template <class P>
Dropout FfnBlock<P>::out_dropout(const RunMode& mode) const {
  return mode.dropout(spec_.dropout, spec_.layer, RunMode::kFfnOut, mode.first_token);
}

template <class P>
void FfnBlock<P>::forward(const RunMode& mode, Matrix<const real> x_TD, Activations& acts, Matrix<real> out_TD) const {
  norm_.forward(x_TD, acts.norm);
  fc1_.forward(acts.norm.y_TD, {},
               {.out_operand = acts.hidden_TF,
                .gelu = true,
                .gelu_kind = spec_.gelu,
                .pre_activation = mode.training ? acts.pre_TF : Matrix<operand>()});
  fc2_.forward(acts.hidden_TF, {}, {.out_real = out_TD, .residual = x_TD, .dropout = out_dropout(mode)});
}

template <class P>
void FfnBlock<P>::backward(const RunMode& mode, Matrix<const real> x_TD, const Activations& acts, Matrix<real> dx_TD,
                           ParameterStore<real>& grads, Scratch<P>& scratch) const {
  dropout_backward<P>(dx_TD, out_dropout(mode), scratch.dy_TD);
  fc2_.backward_weight(scratch.dy_TD, acts.hidden_TF, {}, grads);
  fc2_.backward_input(scratch.dy_TD, {},
                      {.out_operand = scratch.dhidden_TF, .pre_activation = acts.pre_TF, .gelu_kind = spec_.gelu});
  fc1_.backward_weight(scratch.dhidden_TF, acts.norm.y_TD, {}, grads);
  fc1_.backward_input(scratch.dhidden_TF, {}, {.out_real = scratch.dnorm_TD});
  norm_.backward(x_TD, acts.norm, scratch.dnorm_TD, dx_TD, grads);
}

template class FfnBlock<F64>;
template class FfnBlock<F32>;
template class FfnBlock<Bf16>;

}  // namespace troupe
