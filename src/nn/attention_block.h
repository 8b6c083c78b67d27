// out_proj(attention(qkv_proj(y))) with y the block's input (fairseq modules/transformer_layer.py:467-517).
//
// One product makes queries, keys and values side by side; norms of queries and keys and rotary positions act on them
// before they meet. project() is the way up to there: decoding with a cache goes through it, too, and stores keys as
// attention reads them.
#pragma once

#include "nn/sublayer.h"
#include "ops/attention.h"

namespace troupe {

struct AttentionSpec {
  int64_t layer = 0;  // keys its random numbers
  int64_t d_model = 0;
  AttentionHeads heads;
  int64_t rotary_width = 0;  // columns of a head that turn; 0: positions are not the attention's business
  QkNorm qk_norm = QkNorm::kNone;
  double norm_epsilon = 0.0;
  SublayerSpec sublayer;
  double weight_dropout = 0.0;  // of the attention weights

  int64_t query_width() const { return heads.H * heads.C; }
  int64_t kv_width() const { return heads.G * heads.C; }
  int64_t qkv_width() const { return query_width() + 2 * kv_width(); }
};

struct AttentionSlots {
  NormSlots norm;
  LinearSlots qkv_proj, out_proj;
  Slot q_norm, k_norm;  // empty if there are none
};

template <class P>
class AttentionBlock {
 public:
  using real = typename P::real;
  using operand = typename P::operand;
  struct Activations {
    typename Sublayer<P>::Activations sublayer;
    Matrix<operand> qkv, ctx_THC;  // [T, (H + 2 G) C]
    std::span<real> lse_BHS;
    Matrix<operand> qk;                    // queries and keys after their norms, [T, (H + G) C]
    std::span<real> q_rstd_TN, k_rstd_TN;  // of those norms

    void plan(Arena& arena, const AttentionSpec& spec, int64_t T);
  };

  AttentionBlock(const AttentionSpec& spec, const AttentionSlots& slots, const ParameterStore<real>& params);

  void forward(const Pass<P>& pass, Matrix<const real> x_TD, Matrix<const real> residual_TD, Activations& acts,
               Matrix<real> out_TD) const;
  void backward(const Pass<P>& pass, Matrix<const real> x_TD, Matrix<const real> dout_TD, const Activations& acts,
                Matrix<real> dx_TD, ParameterStore<real>& grads) const;
  RoundedGradient<P> wants(const Pass<P>& pass, ParameterStore<real>& grads) const;

  // The parts of forward(), for decoding with a cache (infer/), which fills acts.ctx_THC in between.
  const AttentionHeads& heads() const { return spec_.heads; }
  QueryKeyValue<const operand> project(const Pass<P>& pass, Matrix<const real> x_TD, Activations& acts) const;
  void finish(const Pass<P>& pass, Matrix<const real> residual_TD, Activations& acts, Matrix<real> out_TD) const;

  // Calls f with every map whose weights a model for inference may keep packed alone.
  template <class F>
  void each_map(const F& f) {
    f(qkv_proj_), f(out_proj_);
  }

 private:
  QueryKeyValue<const operand> attended(const Activations& acts) const;  // as attention reads them
  void norm_backward(const Activations& acts, QueryKeyValue<operand> gradient, ParameterStore<real>& grads) const;
  AttentionShape attention_shape(const Pass<P>& pass) const;
  Dropout out_dropout(const RunMode& mode) const;

  AttentionSpec spec_;
  AttentionSlots slots_;
  const ParameterStore<real>* params_;
  Sublayer<P> sublayer_;
  Linear<P> qkv_proj_, out_proj_;
};

}  // namespace troupe
