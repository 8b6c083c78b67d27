// The dense feed-forward block: an Mlp of every token (fairseq modules/transformer_layer.py:38-44, 549-570).
#pragma once

#include "nn/mlp.h"
#include "nn/sublayer.h"

namespace troupe {

struct FfnSpec {
  int64_t layer = 0;  // keys its random numbers
  MlpSpec mlp;
  SublayerSpec sublayer;
};

struct FfnSlots {
  NormSlots norm;
  MlpSlots mlp;
};

template <class P>
class FfnBlock {
 public:
  using real = typename P::real;
  using operand = typename P::operand;
  struct Activations {
    typename Sublayer<P>::Activations sublayer;
    typename Mlp<P>::Activations mlp;

    void plan(Arena& arena, const FfnSpec& spec, int64_t T);
  };

  FfnBlock(const FfnSpec& spec, const FfnSlots& slots, const ParameterStore<real>& params);

  void forward(const Pass<P>& pass, Matrix<const real> x_TD, Matrix<const real> residual_TD, Activations& acts,
               Matrix<real> out_TD) const;
  void backward(const Pass<P>& pass, Matrix<const real> x_TD, Matrix<const real> dout_TD, const Activations& acts,
                Matrix<real> dx_TD, ParameterStore<real>& grads) const;
  RoundedGradient<P> wants(const Pass<P>& pass, ParameterStore<real>& grads) const;

  // Calls f with every map whose weights a model for inference may keep packed alone.
  template <class F>
  void each_map(const F& f) {
    mlp_.each_map(f);
  }

 private:
  Dropout out_dropout(const RunMode& mode) const;

  FfnSpec spec_;
  Sublayer<P> sublayer_;
  Mlp<P> mlp_;
};

}  // namespace troupe
