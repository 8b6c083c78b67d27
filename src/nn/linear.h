// A linear map of a block, or E of them (one per expert): the one door to the matrix products of ops/linear.h. It knows
// where its weights and their gradients are, and that packed copies are those of the weights of now.
//
// A low-rank adapter has its place here, in the three products: y += (x A^T) B^T before the epilogue, and what follows
// from it for dx, dA and dB.
#pragma once

#include <cstdint>
#include <span>

#include "base/error.h"
#include "nn/parameters.h"
#include "ops/linear.h"

namespace troupe {

struct LinearSlots {
  Slot weight, bias;  // [E, out, in], [E, out]; bias may be empty: there is none
};

template <class P>
class Linear {
 public:
  using real = typename P::real;
  using operand = typename P::operand;

  Linear() = default;
  // `params` must outlive the map. What it does not hold of the weights comes by pack() (inference).
  Linear(const ParameterStore<real>& params, const LinearSlots& slots, int64_t num_maps, int64_t out, int64_t in)
      : params_(&params),
        slots_(slots),
        bank_(num_maps, out, in, data_of(params, slots.weight), data_of(params, slots.bias)) {}

  const LinearSlots& slots() const { return slots_; }
  int64_t num_maps() const { return bank_.num_experts(); }
  bool has_weights() const { return bank_.has_weights(); }
  void pack(int64_t map, const WeightSource& source) { bank_.pack(map, source); }

  // y = f(x W^T + b), f as the epilogue says.
  void forward(Matrix<const operand> x, RowOffsets offsets, const ForwardEpilogue<P>& epilogue) const {
    run(LinearForward<P>{bank(), x, offsets, epilogue});
  }
  // dx = dy W, stored as the epilogue says.
  void backward_input(Matrix<const operand> dy, RowOffsets offsets, const BackwardEpilogue<P>& epilogue) const {
    run(LinearBackwardInput<P>{bank(), dy, offsets, epilogue});
  }
  // Adds to the gradients of weight and bias; nothing if `grads` holds neither: the map is frozen. Throws kUsage if it
  // holds a part of them: weight and bias, of all maps, are one gradient.
  void backward_weight(Matrix<const operand> dy, Matrix<const operand> x, RowOffsets offsets,
                       ParameterStore<real>& grads) const {
    const std::span<real> dw = grads.at(slots_.weight), db = grads.at(slots_.bias);
    if (dw.empty() && db.empty()) return;
    if (dw.size() != params_->at(slots_.weight).size() || db.size() != params_->at(slots_.bias).size())
      fail(ErrorCode::kUsage, "gradients: {}: expected all of this map or none of it, weight and bias, got a part",
           params_->table().name_of(slots_.weight));
    run(LinearBackwardWeight<P>{bank_, dy, x, offsets, dw.data(), db.empty() ? nullptr : db.data()});
  }

  // For an op that multiplies inside (ops/loss.h). After the weights changed, the first products prepare them again, so
  // two threads must not make those at a time.
  const LinearBank<P>& bank() const {
    if (bank_.has_weights() && version_ != params_->version()) {
      bank_.weights_changed();
      version_ = params_->version();
    }
    return bank_;
  }

 private:
  static const real* data_of(const ParameterStore<real>& params, Slot slot) {
    const std::span<const real> values = params.at(slot);
    return values.empty() ? nullptr : values.data();
  }

  const ParameterStore<real>* params_ = nullptr;
  LinearSlots slots_;
  mutable LinearBank<P> bank_;
  mutable uint64_t version_ = 0;  // of the parameters that the bank's packed copies are made from
};

}  // namespace troupe
