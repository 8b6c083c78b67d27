// x + sum over a token's kept choices of weight * dropout(expert(LN(x))): router, plan, gather, grouped expert FFN,
// combine. Cost O(T K D); every count of tokens per expert, zero included, is ordinary.
// The router reads LN(x) and multiplies in real precision (fairseq multiplies in the model's dtype).
#pragma once

#include <type_traits>
#include <vector>

#include "nn/block.h"
#include "nn/moe/dispatch_plan.h"
#include "nn/moe/router.h"

namespace troupe {

struct MoeSpec {
  int64_t layer = 0;              // keys its random numbers
  int64_t d_model = 0, d_ff = 0;  // d_ff of one expert
  Gelu gelu = Gelu::kErf;
  double dropout = 0.0;
  MoeConfig routing;
};

struct MoeSlots {
  NormSlots norm;
  Slot router;           // [E, D]
  LinearSlots fc1, fc2;  // [E, F, D], [E, D, F]
};

template <class P>
class MoeBlock {
 public:
  using real = typename P::real;
  using operand = typename P::operand;
  using RouterPrecision = std::conditional_t<std::is_same_v<real, double>, F64, F32>;
  struct Activations {
    typename NormLayer<P>::Activations norm;
    Matrix<real> router_in_TD;  // LN(x) in real
    Routing<real> routing;
    DispatchPlan plan_rows;
    Matrix<operand> xe_RD, pre_RF, hidden_RF;  // the first plan_rows.num_rows() rows count
    Matrix<real> ye_RD;

    void plan(Arena& arena, const MoeSpec& spec, int64_t T);
  };

  MoeBlock(const MoeSpec& spec, const MoeSlots& slots, const ParameterStore<real>& params);

  RouterStats forward(const SequenceShape& shape, const RunMode& mode, Matrix<const real> x_TD, Activations& acts,
                      Matrix<real> out_TD, Scratch<P>& scratch) const;

  // aux_scale[g]: derivative of the loss by the balance loss of routing group g.
  void backward(const SequenceShape& shape, const RunMode& mode, Matrix<const real> x_TD, const Activations& acts,
                std::span<const double> aux_scale, Matrix<real> dx_TD, ParameterStore<real>& grads,
                Scratch<P>& scratch) const;

 private:
  RoutingGroups groups(const SequenceShape& shape) const;
  Dropout out_dropout(const RunMode& mode) const;

  MoeSpec spec_;
  NormLayer<P> norm_;
  Linear<RouterPrecision> router_;
  Linear<P> fc1_, fc2_;
};

// Tokens of one routing group in a micro-batch of this shape.
int64_t routing_group_tokens(const MoeConfig& config, const SequenceShape& shape);

}  // namespace troupe
