// Low-rank adapters (Hu et al. 2021, LoRA: Low-Rank Adaptation of Large Language Models): of a frozen matrix W [N, K]
// two small ones are learnt, A [r, K] and B [N, r], and the model computes with
//
//   W' = W + s B A,    s = alpha / r;    from the gradient dW' of W':  dA = s B^T dW',  dB = s dW' A^T
//
// The three products are those of one linear map A with dy = B and x = dW' (ops/linear.h). W' is formed once an update
// in the place of W, so every kernel, router and expert is as it was, and nothing but the adapter's own products is
// new; the price is a copy of W and the whole gradient dW' of one layer at a time, which is projected as soon as it is
// complete. A dropout of the adapter's inputs alone has no place in it.
#pragma once

#include <cstdint>
#include <vector>

#include "nn/parameters.h"
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

// What of the model's gradients project() needs: of every tensor with an adapted part all, for blocks compute it whole.
Selection lora_gradients(const ParameterTable& model, const LoraParameters& adapters);

template <class P>
class Lora {
 public:
  using real = typename P::real;

  // Takes a copy of the matrices as they are in `weights`, which are W from now on; B is 0. What it keeps lies where
  // they do. Of adapters that are not `held` there are none here: those of experts on other ranks, whose matrices
  // `weights` does not hold either. `parameters` must outlive it.
  Lora(const LoraParameters& parameters, double scale, const ParameterStore<real>& weights, const Selection& held = {});

  const LoraParameters& parameters() const { return parameters_; }
  ParameterStore<real>& values() { return values_; }  // A and B; merge() after they changed
  const ParameterStore<real>& values() const { return values_; }

  // weights = W'. `room` has a place for every adapted matrix, as gradients have, and is overwritten there; all layers
  // may have the same (LayersLie::kTogether).
  void merge(ParameterStore<real>& weights, ParameterStore<real>& room);
  // Adds to `grads` those of A and B of a layer, from those of its adapted matrices.
  void project(int64_t layer, const ParameterStore<real>& dweights, ParameterStore<real>& grads) const;

 private:
  void scale_values();
  // Of target.maps, those here.
  int64_t held_maps(const LoraTarget& target) const {
    return static_cast<int64_t>(values_.at(target.b).size()) / (target.rows * parameters_.rank);
  }

  const LoraParameters& parameters_;
  double scale_;
  ParameterStore<real> base_;    // W
  ParameterStore<real> values_;  // A, B
  ParameterStore<real> scaled_;  // s A, s B
};

extern template class Lora<F64>;
extern template class Lora<F32>;

}  // namespace troupe
