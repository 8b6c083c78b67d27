// A block's way out of the residual stream x and back into it:
//   norm before:  out = residual + multiplier * dropout(f(norm(x)))
//   norm after:   out = residual + norm(dropout(f(x)))
// residual is x, but where blocks of a layer are parallel. The block computes f between input() and finish(), and its
// way back between output_gradient() and add_input_gradient().
#pragma once

#include "nn/block.h"

namespace troupe {

struct SublayerSpec {
  NormSpec norm;
  NormPlace place = NormPlace::kBefore;
  double multiplier = 1.0;
  double dropout = 0.0;
};

template <class P>
class Sublayer {
 public:
  using real = typename P::real;
  using operand = typename P::operand;
  struct Activations {
    typename NormLayer<P>::Activations norm;  // its y_TD is the input of f, also where the norm comes after
    Matrix<real> f_TD;                        // norm after: the output of f

    void plan(Arena& arena, const SublayerSpec& spec, int64_t T);
  };

  Sublayer() = default;
  Sublayer(const SublayerSpec& spec, const NormSlots& slots, const ParameterStore<real>& params)
      : spec_(spec), norm_(spec.norm, slots, params) {}

  // Leaves the input of f in acts.norm.y_TD, and in real where asked.
  void input(Matrix<const real> x_TD, Activations& acts, Matrix<real> y_real_TD = {}) const;
  // How f stores its output.
  ForwardEpilogue<P> output(const Activations& acts, Matrix<const real> residual_TD, const Dropout& dropout,
                            Matrix<real> out_TD) const;
  void finish(const Pass<P>& pass, Activations& acts, Matrix<const real> residual_TD, Matrix<real> out_TD) const;

  // The gradient of f's output before dropout' is applied: dout_TD itself, or its way through the norm.
  Matrix<const real> output_gradient(const Pass<P>& pass, const Activations& acts, Matrix<const real> dout_TD,
                                     ParameterStore<real>& grads) const;
  // The same as f's products read it, in scratch.dy_TD: what the block before left there, or made now. True if its
  // column sums are in the gradient of f's bias.
  bool round_output_gradient(const Pass<P>& pass, const Activations& acts, Matrix<const real> dout_TD,
                             const Dropout& dropout, ParameterStore<real>& grads) const;
  // What may be left there; nothing if dout_TD goes through the norm first.
  RoundedGradient<P> wants(const Pass<P>& pass, const Dropout& dropout, const BiasSums<real>& bias) const {
    if (after()) return {};
    return {dropout, pass.scratch.dy_TD, bias};
  }
  // Adds to dx_TD the way of f's input gradient, in scratch.dnorm_TD, back to x.
  void add_input_gradient(const Pass<P>& pass, Matrix<const real> x_TD, const Activations& acts, Matrix<real> dx_TD,
                          ParameterStore<real>& grads) const;

  Dropout dropout(const RunMode& mode, int64_t layer, RunMode::Site site, int64_t first_row) const {
    return mode.dropout(spec_.dropout, layer, site, first_row, static_cast<float>(spec_.multiplier));
  }

 private:
  bool after() const { return spec_.place == NormPlace::kAfter; }

  SublayerSpec spec_;
  NormLayer<P> norm_;
};

}  // namespace troupe
