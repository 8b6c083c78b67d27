// x + dropout(out_proj(attention(qkv_proj(LN(x))))) (fairseq modules/transformer_layer.py:467-517).
#pragma once

#include "nn/block.h"
#include "ops/attention.h"

namespace troupe {

struct AttentionSpec {
  int64_t layer = 0;  // keys its random numbers
  int64_t d_model = 0, num_heads = 0;
  double dropout = 0.0, weight_dropout = 0.0;  // of the output, of the attention weights

  int64_t head_dim() const { return d_model / num_heads; }
};

struct AttentionSlots {
  NormSlots norm;
  LinearSlots qkv_proj, out_proj;
};

template <class P>
class AttentionBlock {
 public:
  using real = typename P::real;
  using operand = typename P::operand;
  struct Activations {
    typename NormLayer<P>::Activations norm;
    Matrix<operand> qkv_T3D, ctx_TD;
    std::span<real> lse_BHS;

    void plan(Arena& arena, const AttentionSpec& spec, int64_t T);
  };

  AttentionBlock(const AttentionSpec& spec, const AttentionSlots& slots, const ParameterStore<real>& params);

  void forward(const Pass<P>& pass, Matrix<const real> x_TD, Activations& acts, Matrix<real> out_TD) const;
  void backward(const Pass<P>& pass, Matrix<const real> x_TD, const Activations& acts, Matrix<real> dx_TD,
                ParameterStore<real>& grads) const;

  // The parts of forward(), for decoding with a cache (infer/).
  const NormLayer<P>& norm() const { return norm_; }
  const Linear<P>& qkv_proj() const { return qkv_proj_; }
  const Linear<P>& out_proj() const { return out_proj_; }

 private:
  AttentionShape attention_shape(const Pass<P>& pass) const;
  Dropout out_dropout(const RunMode& mode) const;

  AttentionSpec spec_;
  NormLayer<P> norm_;
  Linear<P> qkv_proj_, out_proj_;
};

}  // namespace troupe
