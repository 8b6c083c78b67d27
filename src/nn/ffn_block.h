// x + dropout(fc2(gelu(fc1(LN(x))))) (fairseq modules/transformer_layer.py:38-44, 549-570).
#pragma once

#include "nn/block.h"

namespace troupe {

struct FfnSpec {
  int64_t layer = 0;  // keys its random numbers
  int64_t d_model = 0, d_ff = 0;
  Gelu gelu = Gelu::kErf;
  double dropout = 0.0;
};

struct FfnSlots {
  NormSlots norm;
  LinearSlots fc1, fc2;
};

template <class P>
class FfnBlock {
 public:
  using real = typename P::real;
  using operand = typename P::operand;
  struct Activations {
    typename NormLayer<P>::Activations norm;
    Matrix<operand> pre_TF, hidden_TF;  // before and after gelu

    void plan(Arena& arena, const FfnSpec& spec, int64_t T);
  };

  FfnBlock(const FfnSpec& spec, const FfnSlots& slots, const ParameterStore<real>& params);

  void forward(const RunMode& mode, Matrix<const real> x_TD, Activations& acts, Matrix<real> out_TD) const;
  void backward(const RunMode& mode, Matrix<const real> x_TD, const Activations& acts, Matrix<real> dx_TD,
                ParameterStore<real>& grads, Scratch<P>& scratch) const;

 private:
  Dropout out_dropout(const RunMode& mode) const;

  FfnSpec spec_;
  NormLayer<P> norm_;
  Linear<P> fc1_, fc2_;
};

}  // namespace troupe
