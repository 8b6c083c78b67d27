// A linear map of a block, or E of them (one per expert): the one door to the matrix products of ops/linear.h. It knows
// where its weights and their gradients are, and that packed copies are those of the weights of now.
//
// Where low-rank adapters are trained, they are merged into its weights (nn/lora.h), and it gives them their gradients;
// those with a dropout of their own take the place of its products in training (nn/dropped_adapters.h).
#pragma once

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "base/error.h"
#include "nn/dropped_adapters.h"
#include "nn/low_rank.h"
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

  // From now on backward_weight() adds to the gradients of these adapters too, which must outlive that; none: no more.
  void adapt(std::vector<LowRank<real>> adapters) { adapters_ = std::move(adapters); }
  // From now on training computes with these, beside `weights` in the place of its own; none: no more.
  void adapt(std::vector<DroppedAdapter<real>> adapters, const real* weights) {
    dropped_ = {};
    if (adapters.empty()) return;
    TROUPE_ASSERT(num_maps() == 1);
    dropped_ = {{1, bank_.out(), bank_.in(), weights, data_of(*params_, slots_.bias)}, std::move(adapters)};
  }

  // y = f(x W^T + b), f as the epilogue says. Of a map that may have dropped adapters the rows are tokens, and all
  // three products are told the pass's mode.
  void forward(Matrix<const operand> x, RowOffsets offsets, const ForwardEpilogue<P>& epilogue,
               const RunMode& mode = {}) const {
    if (mode.training && !dropped_.empty()) return dropped_.forward(x, mode, epilogue);
    run(LinearForward<P>{bank(), x, offsets, epilogue});
  }
  // dx = dy W, stored as the epilogue says.
  void backward_input(Matrix<const operand> dy, RowOffsets offsets, const BackwardEpilogue<P>& epilogue,
                      const RunMode& mode = {}) const {
    if (!dropped_.empty()) return dropped_.backward_input(dy, mode, epilogue);
    run(LinearBackwardInput<P>{bank(), dy, offsets, epilogue});
  }
  // Where whoever writes dy may add up the gradient of the bias before backward_weight() does; nowhere unless `grads`
  // holds all of it.
  BiasSums<real> bias_sums(ParameterStore<real>& grads) const {
    const std::span<real> db = grads.at(slots_.bias);
    return {!db.empty() && db.size() == params_->at(slots_.bias).size() ? db.data() : nullptr};
  }
  // Adds to the gradients of weight and bias of every map that `grads` holds; the others are frozen, and so may the
  // bias alone be. Throws kUsage if it holds another part of a map: a weight is one gradient.
  void backward_weight(Matrix<const operand> dy, Matrix<const operand> x, RowOffsets offsets,
                       ParameterStore<real>& grads, const RunMode& mode = {}, bool bias_is_added = false) const {
    const int64_t E = num_maps();
    if (!dropped_.empty()) dropped_.add_gradients(dy, x, mode);
    for (const LowRank<real>& adapters : adapters_) add_low_rank_gradients<P>(adapters, E, dy, x, offsets);
    for (int64_t begin = 0, end; begin < E; begin = end) {  // maps that are held side by side are one product
      end = begin + 1;
      const bool held = holds(grads, begin);
      while (end < E && holds(grads, end) == held) ++end;
      if (!held) continue;
      const std::span<real> dw = grads.at(part(slots_.weight, begin, end)), db = grads.at(part(slots_.bias, begin, end));
      real* const db_data = db.empty() || bias_is_added ? nullptr : db.data();
      if (end - begin == E) {
        run(LinearBackwardWeight<P>{bank_, dy, x, offsets, dw.data(), db_data});
        continue;
      }
      const std::span<const int64_t> here = offsets.here();
      const int64_t first = here[static_cast<size_t>(begin)], rows = here[static_cast<size_t>(end)] - first;
      std::vector<int64_t> of_part;
      for (int64_t e = begin; e <= end; ++e) of_part.push_back(here[static_cast<size_t>(e)] - first);
      const LinearBank<P> maps(end - begin, bank_.out(), bank_.in(), nullptr, nullptr);
      run(LinearBackwardWeight<P>{maps, dy.rows_from(first, rows), x.rows_from(first, rows), of_part, dw.data(),
                                  db_data});
    }
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
  // Of maps [begin, end). The parameters of one map are one or several, those of E are E.
  Slot part(Slot slot, int64_t begin, int64_t end) const {
    return num_maps() == 1 || slot.empty() ? slot : Slot{slot.begin + begin, slot.begin + end};
  }
  bool holds(const ParameterStore<real>& grads, int64_t map) const {
    const auto size = [&](const ParameterStore<real>& store, Slot slot) { return store.at(part(slot, map, map + 1)).size(); };
    const size_t dw = size(grads, slots_.weight), db = size(grads, slots_.bias);
    if (dw == 0 && db == 0) return false;
    if (dw != size(*params_, slots_.weight) || (db != 0 && db != size(*params_, slots_.bias)))
      fail(ErrorCode::kUsage, "gradients: {}: expected all of this map's weight or none of it and its bias, got a part",
           params_->table().name_of(slots_.weight));
    return true;
  }
  static const real* data_of(const ParameterStore<real>& params, Slot slot) {
    const std::span<const real> values = params.at(slot);
    return values.empty() ? nullptr : values.data();
  }

  const ParameterStore<real>* params_ = nullptr;
  LinearSlots slots_;
  std::vector<LowRank<real>> adapters_;
  DroppedAdapters<P> dropped_;
  mutable LinearBank<P> bank_;
  mutable uint64_t version_ = 0;  // of the parameters that the bank's packed copies are made from
};

}  // namespace troupe
