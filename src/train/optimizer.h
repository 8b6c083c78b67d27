// Adam over the trained parameters, with rates by group. Weight decay where a parameter says so, which fairseq's are all,
// biases and norms included (fairseq optim/adam.py), or on matrices alone.
#pragma once

#include <cstdint>

#include "kernels/adam_step.h"
#include "nn/parameters.h"
#include "train/parameter_groups.h"
#include "troupe/fields.h"

namespace troupe {

template <>
struct EnumNames<AdamStep::Form> {
  static constexpr std::array<std::pair<std::string_view, AdamStep::Form>, 2> values = {
      {{"fairseq", AdamStep::Form::kFairseq}, {"usual", AdamStep::Form::kUsual}}};
};

enum class WeightDecayOf { kAll, kMatrices };
template <>
struct EnumNames<WeightDecayOf> {
  static constexpr std::array<std::pair<std::string_view, WeightDecayOf>, 2> values = {
      {{"all", WeightDecayOf::kAll}, {"matrices", WeightDecayOf::kMatrices}}};
};

struct AdamConfig {
  double beta1 = 0.9, beta2 = 0.98;
  double eps = 1e-8;
  double weight_decay = 0.0;
  WeightDecayOf weight_decay_of = WeightDecayOf::kAll;
  AdamStep::Form form = AdamStep::Form::kFairseq;

  template <class V>
  void fields(V& v) {
    v("beta1", beta1, range(0, 0.999999), "decay of the first moment");
    v("beta2", beta2, range(0, 0.999999), "decay of the second moment");
    v("eps", eps, range(0, 1e6), "added to the root of the second moment");
    v("weight_decay", weight_decay, range(0, 1e6), "decoupled: parameters shrink by weight_decay * lr per update");
    v("weight_decay_of", weight_decay_of, any_value(),
      "all parameters, or the matrices of attention and feed-forward layers alone");
    v("form", form, any_value(), "fairseq: eps joins the uncorrected root; usual: the bias-corrected one (AdamW)");
  }
};

struct OptimizerConfig {
  GroupRates lr;

  template <class V>
  void fields(V& v) {
    v("lr", lr);
  }
};

class AdamOptimizer {
 public:
  // Moments of the parameters that are `trained`; those of `table` that are not stay as they are.
  AdamOptimizer(const ParameterTable& table, const AdamConfig& config, const Selection& trained = {},
                Memory& memory = host_memory());

  // One update of every trained parameter with gradient grad_scale * grads; `grads` holds those that are trained. An
  // expert without tokens moves too (momentum, decay), as in fairseq.
  void update(ParameterStore<float>& params, const ParameterStore<float>& grads, const GroupRates& rates,
              double grad_scale);
  void update(ParameterStore<float>& params, const ParameterStore<float>& grads, double lr, double grad_scale) {
    update(params, grads, {lr, lr, lr, lr}, grad_scale);
  }

  int64_t updates() const { return updates_; }
  void set_updates(int64_t updates) { updates_ = updates; }  // after the moments were loaded
  ParameterStore<float>& first_moment() { return m_; }
  ParameterStore<float>& second_moment() { return v_; }

 private:
  AdamConfig config_;
  ParameterStore<float> m_, v_;
  int64_t updates_ = 0;
};

}  // namespace troupe
