// x + dropout(fc2(gelu(fc1(LN(x))))) (fairseq modules/transformer_layer.py:38-44, 549-570).
#pragma once

#include "nn/block.h"

namespace troupe {

template <class P>
class FfnBlock {
 public:
  using real = typename P::real;
  using operand = typename P::operand;
  struct Activations {
    typename NormLayer<P>::Activations norm;
    Matrix<operand> pre_TF, hidden_TF;  // before and after gelu

    void plan(Arena& arena, const ModelConfig& config, int64_t T);
  };

  FfnBlock(const ModelConfig& config, int64_t layer, const ParameterStore<real>& params);
  void weights_changed();

  void forward(const RunMode& mode, Matrix<const real> x_TD, Activations& acts, Matrix<real> out_TD) const;
  void backward(const RunMode& mode, Matrix<const real> x_TD, const Activations& acts, Matrix<real> dx_TD,
                const ParameterStore<real>& grads, Scratch<P>& scratch) const;

 private:
  Dropout out_dropout(const RunMode& mode) const;

  ModelConfig config_;
  int64_t layer_;
  NormLayer<P> norm_;
  LinearLayer<P> fc1_, fc2_;
};

}  // namespace troupe
