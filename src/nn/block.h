// What the blocks of a decoder layer share: maps and norms with their parameters, the shape of the micro-batch, scratch
// of the backward pass.
//
// A block is made from a spec (its sizes and choices) and the slots of its parameters, both by model/; it knows nothing
// of the model around it.
//
// A block adds f(x) to a residual stream (nn/sublayer.h): forward() reads x and residual, writes out, and fills the
// block's Activations; backward() takes the gradient dout of out, adds that of x to dx (dout may be dx: the residual
// passes through), and adds to the parameters' gradients; wants() says what it reads dout as, which the block whose
// backward() is called before may leave for it. All blocks have the same three, so a layer visits whichever it has.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "nn/linear.h"
#include "nn/parameters.h"
#include "nn/run_mode.h"
#include "ops/rounded_gradient.h"
#include "ops/route/router_stats.h"
#include "tensor/arena.h"
#include "troupe/config.h"

namespace troupe {

struct SequenceShape {
  int64_t B = 0, S = 0;
  std::span<const uint8_t> token_valid;  // [B, S], 0 for padding; empty if there is none
  std::span<const int32_t> key_end = {};  // of texts that do not see each other (kernels/attention_shape.h); or empty
  int64_t tokens() const { return B * S; }

  // The micro-batch of which these are the sequences of one rank: B in all, `before` of them on ranks before. B = 0: there
  // is no such; a rank is alone, though it may have its experts' rows computed elsewhere.
  struct Whole {
    int64_t B = 0, before = 0;
    std::span<const uint8_t> token_valid = {};
    std::span<const int32_t> ids_T = {};
  } whole = {};
};

struct NormSlots {
  Slot weight, bias;  // bias may be empty: there is none
};

struct NormSpec {
  Norm kind = Norm::kLayer;
  double epsilon = 1e-5;
  int64_t width = 0;
};

// A norm of the residual stream, and what its backward pass needs.
template <class P>
struct NormLayer {
  using real = typename P::real;
  using operand = typename P::operand;
  struct Activations {
    std::span<real> mean_T, rstd_T;  // no means with RMSNorm
    Matrix<operand> y_TD;

    void plan(Arena& arena, const NormSpec& spec, int64_t T);
  };

  NormSpec spec;
  NormSlots slots;
  const ParameterStore<real>* params = nullptr;

  NormLayer() = default;
  NormLayer(const NormSpec& spec, const NormSlots& slots, const ParameterStore<real>& params)
      : spec(spec), slots(slots), params(&params) {}
  void forward(Matrix<const real> x_TD, Activations& acts, Matrix<real> y_real_TD = {}) const {
    normalise(x_TD, acts, acts.y_TD, y_real_TD);
  }
  // The same with the output elsewhere; either may be empty.
  void normalise(Matrix<const real> x_TD, Activations& acts, Matrix<operand> y_TD, Matrix<real> y_real_TD) const;
  void backward(Matrix<const real> x_TD, const Activations& acts, Matrix<const real> dy_TD, Matrix<real> dx_TD,
                ParameterStore<real>& grads, RoundedGradient<P>* rounded = nullptr) const;
};

// The sizes that scratch memory serves.
struct ScratchSpec {
  int64_t d_model = 0;
  int64_t query_width = 0, kv_width = 0;
  int64_t ffn_width = 0;     // Mlp's work_width(); 0: no dense FFN
  int64_t expert_width = 0;  // that of an expert
  int64_t shared_width = 0;  // that of a shared expert
  bool norm_after = false, parallel = false;
  MoeConfig routing;  // 0 experts: no MoE layer
};

// Memory that only lives inside one block's backward pass (and the router's forward): shared by all layers.
template <class P>
struct RankedScratch;

template <class P>
struct Scratch {
  using real = typename P::real;
  using operand = typename P::operand;

  Matrix<real> dnorm_TD;               // gradient of a norm's output
  Matrix<operand> dy_TD;               // gradient of a block's output, as operand
  Matrix<operand> dctx_THC, dqkv;      // attention
  Matrix<operand> dhidden_TF;          // dense FFN
  Matrix<operand> dye_RD, dhidden_RF;  // experts
  Matrix<real> dxe_RD;
  Matrix<real> logits_TE;  // router: logits, then their gradient
  Matrix<operand> dlogits_TE;  // for a router that multiplies operands
  std::span<real> dweight_R;
  Matrix<operand> dhidden_shared_TF;  // shared expert
  Matrix<real> dshared_TD, dgate_T1;
  Matrix<real> branch_TD;  // norm after the block: its output, and in the backward pass the gradient of its input
  Matrix<real> dout_TD;    // parallel blocks: the gradient of their sum
  std::shared_ptr<RankedScratch<P>> ranked;  // experts on several ranks (nn/moe/ranked_experts.h)

  void plan(Arena& arena, const ScratchSpec& spec, int64_t T, bool backward);
};

// What a pass over a micro-batch gives every block on its way.
template <class P>
struct Pass {
  SequenceShape shape;
  RunMode mode;
  Scratch<P>& scratch;
  std::vector<RouterStats>* reports = nullptr;  // MoE blocks append theirs in forward(); nullptr: nobody asks
  std::span<const double> loss_scale = {};      // derivative of the loss by those of the router: [losses, groups]
  std::span<const int32_t> ids_T = {};          // of the tokens
  // Rotary positions (ops/rotary.h): the row of the table of every token, and the table.
  std::span<const int32_t> positions_T = {};
  Matrix<const typename P::real> rotary_PR = {};
  // On the way back: what this block wants() of the gradient of its output, if the block before has left it, and what
  // the next one wants of that of its own.
  const RoundedGradient<P>* ready = nullptr;
  RoundedGradient<P>* next = nullptr;
};

}  // namespace troupe
