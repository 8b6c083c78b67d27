// x + dropout(out_proj(attention(qkv_proj(LN(x))))) (fairseq modules/transformer_layer.py:467-517).
#pragma once

#include "nn/block.h"
#include "ops/attention.h"

namespace troupe {

template <class P>
class AttentionBlock {
 public:
  using real = typename P::real;
  using operand = typename P::operand;
  struct Activations {
    typename NormLayer<P>::Activations norm;
    Matrix<operand> qkv_T3D, ctx_TD;
    std::span<real> lse_BHS;

    void plan(Arena& arena, const ModelConfig& config, int64_t T);
  };

  AttentionBlock(const ModelConfig& config, int64_t layer, const ParameterStore<real>& params);
  void weights_changed();

  void forward(const SequenceShape& shape, const RunMode& mode, Matrix<const real> x_TD, Activations& acts,
               Matrix<real> out_TD) const;
  void backward(const SequenceShape& shape, const RunMode& mode, Matrix<const real> x_TD, const Activations& acts,
                Matrix<real> dx_TD, const ParameterStore<real>& grads, Scratch<P>& scratch) const;

  // The parts of forward(), for decoding with a cache (infer/).
  const NormLayer<P>& norm() const { return norm_; }
  const LinearLayer<P>& qkv_proj() const { return qkv_proj_; }
  const LinearLayer<P>& out_proj() const { return out_proj_; }

 private:
  AttentionShape attention_shape(const SequenceShape& shape, const RunMode& mode) const;
  Dropout out_dropout(const RunMode& mode) const;

  ModelConfig config_;
  int64_t layer_;
  NormLayer<P> norm_;
  LinearLayer<P> qkv_proj_, out_proj_;
};

}  // namespace troupe
