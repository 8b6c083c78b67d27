#include "nn/ffn_block.h"

namespace troupe {

template <class P>
void FfnBlock<P>::Activations::plan(Arena& arena, const FfnSpec& spec, int64_t T) {
  sublayer.plan(arena, spec.sublayer, T);
  mlp.plan(arena, spec.mlp, T);
}

template <class P>
FfnBlock<P>::FfnBlock(const FfnSpec& spec, const FfnSlots& slots, const ParameterStore<real>& params)
    : spec_(spec), sublayer_(spec.sublayer, slots.norm, params), mlp_(spec.mlp, slots.mlp, params) {}

template <class P>
Dropout FfnBlock<P>::out_dropout(const RunMode& mode) const {
  return sublayer_.dropout(mode, spec_.layer, RunMode::kFfnOut, mode.first_token);
}

template <class P>
void FfnBlock<P>::forward(const Pass<P>& pass, Matrix<const real> x_TD, Matrix<const real> residual_TD,
                          Activations& acts, Matrix<real> out_TD) const {
  sublayer_.input(x_TD, acts.sublayer);
  mlp_.forward(acts.sublayer.norm.y_TD, {}, pass.mode, acts.mlp,
               sublayer_.output(acts.sublayer, residual_TD, out_dropout(pass.mode), out_TD));
  sublayer_.finish(pass, acts.sublayer, residual_TD, out_TD);
}

template <class P>
RoundedGradient<P> FfnBlock<P>::wants(const Pass<P>& pass, ParameterStore<real>& grads) const {
  return sublayer_.wants(pass, out_dropout(pass.mode), mlp_.out_bias_sums(grads));
}

template <class P>
void FfnBlock<P>::backward(const Pass<P>& pass, Matrix<const real> x_TD, Matrix<const real> dout_TD,
                           const Activations& acts, Matrix<real> dx_TD, ParameterStore<real>& grads) const {
  Scratch<P>& scratch = pass.scratch;
  const bool bias_is_added =
      sublayer_.round_output_gradient(pass, acts.sublayer, dout_TD, out_dropout(pass.mode), grads);
  mlp_.backward(scratch.dy_TD, acts.sublayer.norm.y_TD, {}, pass.mode, acts.mlp, scratch.dhidden_TF, scratch.dnorm_TD,
                grads, bias_is_added);
  sublayer_.add_input_gradient(pass, x_TD, acts.sublayer, dx_TD, grads);
}

template class FfnBlock<F64>;
template class FfnBlock<F32>;
template class FfnBlock<Bf16>;

}  // namespace troupe
