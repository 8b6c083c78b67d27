// The sum over a token's rows of weight * dropout(expert(y)), y the block's input: router, route, gather, the experts as
// one Mlp, combine. Cost O(R D); every count of rows per expert and per token, zero included, is ordinary.
// The router reads y and multiplies in real precision, or in that of operands as fairseq does.
#pragma once

#include <type_traits>
#include <vector>

#include "nn/mlp.h"
#include "nn/moe/ranked_experts.h"
#include "nn/sublayer.h"
#include "ops/jitter.h"
#include "ops/route/route.h"

namespace troupe {

struct MoeSpec {
  int64_t layer = 0;  // keys its random numbers
  MlpSpec mlp;        // the experts
  MlpSpec shared;     // what every token passes besides; d_ff 0: nothing
  SublayerSpec sublayer;
  MoeConfig routing;
  Communicator* ranks = nullptr;  // share the experts, of which `mlp` has this rank's; nullptr: all are here
};

struct MoeSlots {
  NormSlots norm;
  Slot router;       // [E, D]; empty with a hash
  Slot router_bias;  // [E], state that no gradient trains (train/balance_bias.h); empty if there is none
  MlpSlots mlp;
  MlpSlots shared;
  Slot shared_gate;  // [1, D]; empty if there is none
};

template <class P>
class MoeBlock {
 public:
  using real = typename P::real;
  using operand = typename P::operand;
  using RouterPrecision = std::conditional_t<std::is_same_v<real, double>, F64, F32>;
  struct Activations {
    typename Sublayer<P>::Activations sublayer;
    Matrix<real> router_in_TD;  // y in real
    Matrix<real> jittered_TD;   // what the router reads in training, if it is not the same
    Routing<real> routing;
    Matrix<operand> xe_RD;  // of the following the first routing.rows.num_rows() rows count
    typename Mlp<P>::Activations mlp;
    Matrix<real> ye_RD;
    typename Mlp<P>::Activations shared;
    Matrix<real> shared_y_TD, shared_gate_T1;
    std::shared_ptr<RankedRows<P>> ranked;  // in the place of mlp, where ranks share the experts

    void plan(Arena& arena, const MoeSpec& spec, int64_t T);
  };

  MoeBlock(const MoeSpec& spec, const MoeSlots& slots, const ParameterStore<real>& params);

  void forward(const Pass<P>& pass, Matrix<const real> x_TD, Matrix<const real> residual_TD, Activations& acts,
               Matrix<real> out_TD) const;
  void backward(const Pass<P>& pass, Matrix<const real> x_TD, Matrix<const real> dout_TD, const Activations& acts,
                Matrix<real> dx_TD, ParameterStore<real>& grads) const;
  RoundedGradient<P> wants(const Pass<P>&, ParameterStore<real>&) const { return {}; }  // it reads dout as it is

  // Calls f with every map whose weights a model for inference may keep packed alone.
  template <class F>
  void each_map(const F& f) {
    mlp_.each_map(f);
    if (has_shared()) shared_.each_map(f);
  }
  // Calls f with the router's map, which may be of another precision.
  template <class F>
  void with_router(const F& f) {
    in_operands() ? f(operand_router_) : f(router_);
  }

 private:
  bool has_shared() const { return spec_.shared.d_ff > 0; }
  bool has_shared_gate() const { return has_shared() && spec_.routing.shared_gate; }
  Dropout shared_dropout(const RunMode& mode) const;
  void add_shared(const Pass<P>& pass, Activations& acts, Matrix<real> out_TD) const;
  // Adds the gradient of the block's input to scratch.dnorm_TD.
  void shared_backward(const Pass<P>& pass, const Activations& acts, Matrix<const real> dout_TD,
                       ParameterStore<real>& grads) const;
  RouteRequest route_request(const Pass<P>& pass) const;
  // Where ranks share the experts: whether a routing group may lie on several, its request, and what takes the place of
  // route(), of its way back and of the experts.
  bool routes_whole(const Pass<P>& pass) const;
  RouteRequest whole_request(const Pass<P>& pass) const;
  int64_t num_chunks(const Pass<P>& pass) const;  // of an exchange of rows
  RouterStats route_tokens(const Pass<P>& pass, Matrix<const real> logits_TE, Activations& acts) const;
  void route_tokens_backward(const Pass<P>& pass, const Activations& acts, Matrix<real> dlogits_TE) const;
  void run_experts(const Pass<P>& pass, Matrix<const operand> xe_RD, Activations& acts, Matrix<real> ye_RD) const;
  void run_experts_backward(const Pass<P>& pass, Matrix<const operand> dye_RD, const Activations& acts,
                            Matrix<real> dxe_RD, ParameterStore<real>& grads) const;
  // The router's logits; what is there for a hash, which reads none.
  Matrix<real> router_logits(const Pass<P>& pass, Activations& acts) const;
  // Overwrites scratch.dnorm_TD with the gradient of the block's input.
  void router_backward(const Pass<P>& pass, const Activations& acts, ParameterStore<real>& grads) const;
  RoutedBefore routed_before(const RunMode& mode) const;
  bool in_operands() const { return spec_.routing.router_precision == RouterOperand::kModel; }
  bool jitters(const RunMode& mode) const { return mode.training && spec_.routing.input_jitter > 0; }
  Jitter<real> jitter(const RunMode& mode, Matrix<real> x_TD) const;
  Dropout out_dropout(const RunMode& mode, const Routed<real>& rows) const;

  MoeSpec spec_;
  Sublayer<P> sublayer_;
  const ParameterStore<real>* params_;
  Slot router_bias_;
  Linear<RouterPrecision> router_;
  Linear<P> operand_router_;  // in its place with router_precision "model"
  Mlp<P> mlp_;
  Mlp<P> shared_;
  Linear<RouterPrecision> shared_gate_;
};

// Tokens of one routing group in a micro-batch of this shape.
int64_t routing_group_tokens(const MoeConfig& config, const SequenceShape& shape);

}  // namespace troupe
