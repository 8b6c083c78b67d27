// Low-rank adapters (Hu et al. 2021, LoRA: Low-Rank Adaptation of Large Language Models): of a frozen matrix W [N, K]
// two small ones are learnt, A [r, K] and B [N, r], and the model computes with
//
//   W' = W + s B A,    s = alpha / r;    from the gradient dW' of W':  dA = s B^T dW',  dB = s dW' A^T
//
// W' is formed once an update in the place of W, so every kernel, router and expert is as it was, and the price is a copy
// of W. dW' is never formed: A and B have their gradients from the rows that the map reads and those that come back
// (nn/low_rank.h). With a dropout of the adapters' inputs there is no such sum in training, which computes with W and
// the adapters beside it (nn/dropped_adapters.h); W' is what evaluation reads.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "nn/dropped_adapters.h"
#include "nn/low_rank.h"
#include "nn/parameters.h"
#include "tensor/buffer.h"
#include "tensor/precision.h"

namespace troupe {

// An adapted family of matrices: a matrix, or that of every expert. Of matrices that lie on top of each other
// (Parameter::stacked) each has its own A and B, on top of each other too.
struct LoraTarget {
  Parameter weight;            // the family's pattern; its slot is that of all members
  Slot a, b;                   // in the adapters' table
  int64_t maps = 1;            // pairs A and B
  int64_t rows = 0, cols = 0;  // N and K of one
};

// A's and B's of all adapted matrices, NAME.lora_A and NAME.lora_B for NAME.weight, and whose they are.
struct LoraParameters {
  ParameterTable table;
  std::vector<LoraTarget> targets;
  int64_t rank = 0;
};

// A starts as PEFT's, U(+-1/sqrt(K)), B at 0. Asks `adapted` for families; an expert is adapted as all of its layer.
LoraParameters make_lora_parameters(const ParameterTable& model, const Selection& adapted, int64_t rank);

// Whether a parameter of that table is an A.
bool is_lora_a(const Parameter& parameter);

// Of `model` what a copy is kept of: the matrices adapted, or with a dropout all of their tensors, which are multiplied
// as they were.
std::vector<Slot> lora_kept(const LoraParameters& parameters, const ParameterTable& model, double dropout);

template <class P>
class Lora {
 public:
  using real = typename P::real;

  // Takes a copy of the matrices as they are in `weights`, which are W from now on; B is 0. What it keeps lies where
  // they do. Of adapters that are not `held` there are none here: those of experts on other ranks, whose matrices
  // `weights` does not hold either. `parameters` must outlive it. With a dropout they are of matrices whose rows are
  // tokens, no experts and no routers.
  Lora(const LoraParameters& parameters, double scale, const ParameterStore<real>& weights, const Selection& held = {},
       double dropout = 0.0);

  const LoraParameters& parameters() const { return parameters_; }
  ParameterStore<real>& values() { return values_; }  // A and B; merge() after they changed
  const ParameterStore<real>& values() const { return values_; }

  // weights = W'.
  void merge(ParameterStore<real>& weights);

  // From now on the maps of `model` (DecoderWeights, whatever its precision) add the gradients of A and B, which are as
  // merge() last had them, to `grads`; until detach().
  template <class Weights>
  void attach(Weights& model, ParameterStore<real>& grads) {
    model.each_linear([&](auto& map) {
      if (dropout_ > 0.0)
        map.adapt(dropped_adapters_of(map.slots().weight, grads), frozen(map.slots().weight));
      else
        map.adapt(adapters_of(map.slots().weight, grads));
    });
  }
  template <class Weights>
  void detach(Weights& model) {
    model.each_linear([&](auto& map) { map.adapt({}), map.adapt({}, nullptr); });
  }

 private:
  void prepare_values();
  // Calls f with every target in a tensor of the model that there is here, and the first row of its matrices there.
  template <class F>
  void each_target(Slot tensor, const F& f) const;
  // Of a tensor of the model, with gradients that lie in `grads`.
  std::vector<LowRank<real>> adapters_of(Slot tensor, ParameterStore<real>& grads);
  std::vector<DroppedAdapter<real>> dropped_adapters_of(Slot tensor, ParameterStore<real>& grads);
  const real* frozen(Slot tensor) const { return base_.at(tensor).data(); }
  // Of target.maps, those here.
  int64_t held_maps(const LoraTarget& target) const {
    return static_cast<int64_t>(values_.at(target.b).size()) / (target.rows * parameters_.rank);
  }

  const LoraParameters& parameters_;
  double scale_, dropout_;
  ParameterStore<real> base_;    // W; with a dropout of whole tensors, of which a matrix may be a part
  ParameterStore<real> values_;  // A, B
  ParameterStore<real> scaled_;  // s A, s B as LowRank has them
  ParameterStore<real> turned_;  // (s A)^T [K, r] of every pair
  Buffer<std::byte> room_;       // of attached maps
};

extern template class Lora<F64>;
extern template class Lora<F32>;

}  // namespace troupe
