#include "nn/ffn_block.h"

#include "ops/elementwise.h"

namespace troupe {

template <class P>
void FfnBlock<P>::Activations::plan(Arena& arena, const FfnSpec& spec, int64_t T) {
  norm.plan(arena, T, spec.mlp.d_model);
  mlp.plan(arena, spec.mlp, T);
}

template <class P>
FfnBlock<P>::FfnBlock(const FfnSpec& spec, const FfnSlots& slots, const ParameterStore<real>& params)
    : spec_(spec), norm_(params, slots.norm), mlp_(spec.mlp, slots.mlp, params) {}

template <class P>
Dropout FfnBlock<P>::out_dropout(const RunMode& mode) const {
  return mode.dropout(spec_.dropout, spec_.layer, RunMode::kFfnOut, mode.first_token);
}

template <class P>
void FfnBlock<P>::forward(const Pass<P>& pass, Matrix<const real> x_TD, Activations& acts, Matrix<real> out_TD) const {
  norm_.forward(x_TD, acts.norm);
  mlp_.forward(acts.norm.y_TD, {}, pass.mode.training, acts.mlp,
               {.out_real = out_TD, .residual = x_TD, .dropout = out_dropout(pass.mode)});
}

template <class P>
void FfnBlock<P>::backward(const Pass<P>& pass, Matrix<const real> x_TD, const Activations& acts, Matrix<real> dx_TD,
                           ParameterStore<real>& grads) const {
  Scratch<P>& scratch = pass.scratch;
  run(DropoutBackward<P>{.dx = dx_TD, .dropout = out_dropout(pass.mode), .dy = scratch.dy_TD});
  mlp_.backward(scratch.dy_TD, acts.norm.y_TD, {}, acts.mlp, scratch.dhidden_TF, scratch.dnorm_TD, grads);
  norm_.backward(x_TD, acts.norm, scratch.dnorm_TD, dx_TD, grads);
}

template class FfnBlock<F64>;
template class FfnBlock<F32>;
template class FfnBlock<Bf16>;

}  // namespace troupe
