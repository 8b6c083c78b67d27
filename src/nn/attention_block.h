// x + dropout(out_proj(attention(qkv_proj(LN(x))))) (fairseq modules/transformer_layer.py:467-517).
//
// One product makes queries, keys and values side by side; project() hands them on as three views. What acts on them
// before they meet (rotary positions, norms of q and k) would stand at its end, and its gradient at the mark in
// backward(): decoding with a cache goes through project(), too, and stores keys as attention reads them.
#pragma once

#include "nn/block.h"
#include "ops/attention.h"

namespace troupe {

struct AttentionSpec {
  int64_t layer = 0;  // keys its random numbers
  int64_t d_model = 0, num_heads = 0;
  double dropout = 0.0, weight_dropout = 0.0;  // of the output, of the attention weights

  AttentionHeads heads() const;  // each query head has keys and values of its own
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
  AttentionHeads heads() const { return spec_.heads(); }
  QueryKeyValue<const operand> project(Matrix<const real> x_TD, Activations& acts) const;
  const Linear<P>& out_proj() const { return out_proj_; }

  // Calls f with every map whose weights a model for inference may keep packed alone.
  template <class F>
  void each_map(const F& f) {
    f(qkv_proj_), f(out_proj_);
  }

 private:
  template <class T>
  QueryKeyValue<T> split(Matrix<T> qkv_T3D) const;
  AttentionShape attention_shape(const Pass<P>& pass) const;
  Dropout out_dropout(const RunMode& mode) const;

  AttentionSpec spec_;
  NormLayer<P> norm_;
  Linear<P> qkv_proj_, out_proj_;
};

}  // namespace troupe
