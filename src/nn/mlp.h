// fc2(f(fc1(x))) for E pairs of maps over rows sorted by expert: the experts of an MoE layer, and with E = 1 the dense
// FFN. Gated, fc1 makes two halves [a, b] beside each other, and fc2 reads f(a) b (ops/gate.h). It owns the products of both directions; where rows come from and go to is the caller's business.
#pragma once

#include "nn/linear.h"
#include "tensor/arena.h"

namespace troupe {

struct MlpSpec {
  int64_t num_experts = 1;
  int64_t d_model = 0, d_ff = 0;  // d_ff of one expert
  Activation activation = Activation::kGeluErf;
  bool gated = false;

  int64_t fc1_width() const { return gated ? 2 * d_ff : d_ff; }
  int64_t work_width() const { return gated ? 3 * d_ff : d_ff; }  // of what backward() works in
};

struct MlpSlots {
  LinearSlots fc1, fc2;  // [E, F, D] (gated [E, 2 F, D]: a above b), [E, D, F]
};

template <class P>
class Mlp {
 public:
  using real = typename P::real;
  using operand = typename P::operand;
  // What fc1 makes (gated: 2 F wide) and what fc2 reads; a pass over R rows uses the first R of them.
  struct Activations {
    Matrix<operand> pre_RF, hidden_RF;

    void plan(Arena& arena, const MlpSpec& spec, int64_t R);
    // Those of `count` rows of a larger pass.
    Activations rows_from(int64_t begin, int64_t count) const {
      return {pre_RF.rows_from(begin, count), hidden_RF.rows_from(begin, count)};
    }
  };

  Mlp() = default;
  Mlp(const MlpSpec& spec, const MlpSlots& slots, const ParameterStore<real>& params);

  // Stores y as `out` says. Only in training may backward() follow.
  void forward(Matrix<const operand> x_RD, RowOffsets offsets, const RunMode& mode, Activations& acts,
               const ForwardEpilogue<P>& out) const;
  // dx_RD is overwritten; x_RD and acts as forward() had and left them. work_RF is memory to
  // work in, of work_width() columns. out_bias_is_added: out_bias_sums() of dy_RD are.
  void backward(Matrix<const operand> dy_RD, Matrix<const operand> x_RD, RowOffsets offsets, const RunMode& mode,
                const Activations& acts, Matrix<operand> work_RF, Matrix<real> dx_RD, ParameterStore<real>& grads,
                bool out_bias_is_added = false) const;
  BiasSums<real> out_bias_sums(ParameterStore<real>& grads) const { return fc2_.bias_sums(grads); }

  // Calls f with every map whose weights a model for inference may keep packed alone.
  template <class F>
  void each_map(const F& f) {
    f(fc1_), f(fc2_);
  }

 private:
  MlpSpec spec_;
  Linear<P> fc1_, fc2_;
};

}  // namespace troupe
