#include "nn/sublayer.h"

#include "ops/elementwise.h"

namespace troupe {

template <class P>
void Sublayer<P>::Activations::plan(Arena& arena, const SublayerSpec& spec, int64_t T) {
  norm.plan(arena, spec.norm, T);
  if (spec.place == NormPlace::kAfter) f_TD = arena.matrix<real>("block.f", T, spec.norm.width);
}

template <class P>
void Sublayer<P>::input(Matrix<const real> x_TD, Activations& acts, Matrix<real> y_real_TD) const {
  if (!after()) return norm_.forward(x_TD, acts.norm, y_real_TD);
  run(DropoutBackward<P>{.dx = x_TD, .dropout = {}, .dy = acts.norm.y_TD});  // x in the operand type
  if (y_real_TD) run(Copy<real>{x_TD, y_real_TD});
}

template <class P>
ForwardEpilogue<P> Sublayer<P>::output(const Activations& acts, Matrix<const real> residual_TD, const Dropout& dropout,
                                       Matrix<real> out_TD) const {
  ForwardEpilogue<P> epilogue;
  epilogue.dropout = dropout;
  epilogue.out_real = after() ? acts.f_TD : out_TD;
  if (!after()) epilogue.residual = residual_TD;
  return epilogue;
}

template <class P>
void Sublayer<P>::finish(const Pass<P>& pass, Activations& acts, Matrix<const real> residual_TD,
                         Matrix<real> out_TD) const {
  if (!after()) return;
  norm_.normalise(acts.f_TD, acts.norm, {}, pass.scratch.branch_TD);
  run(Add<real>{residual_TD, pass.scratch.branch_TD, out_TD});
}

template <class P>
Matrix<const typename P::real> Sublayer<P>::output_gradient(const Pass<P>& pass, const Activations& acts,
                                                            Matrix<const real> dout_TD,
                                                            ParameterStore<real>& grads) const {
  if (!after()) return dout_TD;
  run(Fill<real>{.x = pass.scratch.branch_TD});
  norm_.backward(acts.f_TD, acts.norm, dout_TD, pass.scratch.branch_TD, grads);
  return pass.scratch.branch_TD;
}

template <class P>
bool Sublayer<P>::round_output_gradient(const Pass<P>& pass, const Activations& acts, Matrix<const real> dout_TD,
                                        const Dropout& dropout, ParameterStore<real>& grads) const {
  if (pass.ready) return pass.ready->bias.added;
  run(DropoutBackward<P>{
      .dx = output_gradient(pass, acts, dout_TD, grads), .dropout = dropout, .dy = pass.scratch.dy_TD});
  return false;
}

template <class P>
void Sublayer<P>::add_input_gradient(const Pass<P>& pass, Matrix<const real> x_TD, const Activations& acts,
                                     Matrix<real> dx_TD, ParameterStore<real>& grads) const {
  if (!after()) return norm_.backward(x_TD, acts.norm, pass.scratch.dnorm_TD, dx_TD, grads, pass.next);
  run(Add<real>{dx_TD, pass.scratch.dnorm_TD, dx_TD});
}

template class Sublayer<F64>;
template class Sublayer<F32>;
template class Sublayer<Bf16>;

}  // namespace troupe
