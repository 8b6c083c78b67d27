// One update of the trained parameters, with rates by group: Adam, or Muon for the matrices of the layers and Adam for
// the rest. Adam's weight decay is where a parameter says so, which fairseq's are all, biases and norms included
// (fairseq optim/adam.py), or on matrices alone.
#pragma once

#include <cstdint>
#include <optional>
#include <variant>

#include "kernels/adam_step.h"
#include "model/precision_choice.h"
#include "nn/parameters.h"
#include "ops/muon.h"
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

struct MuonConfig {
  double momentum = 0.95;
  bool nesterov = true;
  double weight_decay = 0.0;
  int64_t iterations = 5;

  template <class V>
  void fields(V& v) {
    v("momentum", momentum, range(0, 0.999999), "decay of the gradient's mean");
    v("nesterov", nesterov, any_value(), "move by the mean as it will be after this gradient counts again");
    v("weight_decay", weight_decay, range(0, 1e6), "decoupled: matrices shrink by weight_decay * lr per update");
    v("iterations", iterations, range(1, 100), "of Newton and Schulz, which make the update orthogonal");
  }
};

// What becomes of the gradients of experts where several ranks train: sums over all tokens like the others, or that times
// the root of the number of ranks that share them (fairseq's moe_normalize_expert_grad).
enum class ExpertGradients { kSum, kSqrtWorldSize };
template <>
struct EnumNames<ExpertGradients> {
  static constexpr std::array<std::pair<std::string_view, ExpertGradients>, 2> values = {
      {{"sum", ExpertGradients::kSum}, {"sqrt_world_size", ExpertGradients::kSqrtWorldSize}}};
};

enum class MatrixOptimizer { kAdam, kMuon };
template <>
struct EnumNames<MatrixOptimizer> {
  static constexpr std::array<std::pair<std::string_view, MatrixOptimizer>, 2> values = {
      {{"adam", MatrixOptimizer::kAdam}, {"muon", MatrixOptimizer::kMuon}}};
};

struct OptimizerConfig {
  MatrixOptimizer matrices = MatrixOptimizer::kAdam;
  Precision moments = Precision::kFp32;
  bool offload = false;
  bool release_gradients = false;
  GroupRates lr;

  template <class V>
  void fields(V& v) {
    v("matrices", matrices, any_value(),
      "what moves the matrices of attention and feed-forward layers, each by itself; Adam moves the rest");
    v("moments", moments, any_value(),
      "Adam's two, which bf16 halves, rounded by chance; Muon's momentum is float32 always");
    v("offload", offload, any_value(),
      "moments lie in the host's memory and pass through a GPU's in parts: slower, with the same bits");
    v("release_gradients", release_gradients, any_value(),
      "gradients of a layer are taken as soon as they are complete and lie where the next layer's will; with clip_norm "
      "0 and one micro-batch an update");
    v("lr", lr);
  }
};

// Whether Muon moves it.
inline bool moved_by_muon(const Parameter& parameter, const OptimizerConfig& config) {
  return config.matrices == MatrixOptimizer::kMuon && group_of(parameter) == ParameterGroup::kMatrices;
}

struct OptimizerOptions {
  AdamConfig adam = {};
  OptimizerConfig optimizer = {};
  MuonConfig muon = {};
  Precision precision = Precision::kFp32;  // of Muon's products
  uint64_t seed = 1;                       // of what is rounded by chance
};

// Elements of moments that pass through a GPU's memory at a time.
inline constexpr int64_t kMomentsAtATime = int64_t{1} << 24;

class Optimizer {
 public:
  // Moments of the parameters that are `trained`; those of `table` that are not stay as they are. Gradients may be held
  // of more, which are moved elsewhere.
  Optimizer(const ParameterTable& table, const OptimizerOptions& options, const Selection& trained = {},
            Memory& memory = host_memory());

  // One update of every trained parameter with gradient grad_scale * grads; `grads` holds those that are trained. An
  // expert without tokens moves too (momentum, decay), as in fairseq.
  void update(ParameterStore<float>& params, const ParameterStore<float>& grads, const GroupRates& rates,
              double grad_scale);
  void update(ParameterStore<float>& params, const ParameterStore<float>& grads, double lr, double grad_scale) {
    update(params, grads, {lr, lr, lr, lr}, grad_scale);
  }

  // The same in parts: the parameters of a layer, or of none (-1), of an update that begin_update() began.
  void begin_update() { ++updates_; }
  void update_layer(int64_t layer, ParameterStore<float>& params, const ParameterStore<float>& grads,
                    const GroupRates& rates, double grad_scale);

  int64_t updates() const { return updates_; }
  void set_updates(int64_t updates) { updates_ = updates; }  // after the moments were loaded
  const ParameterStore<float>& first_moment() const { return m_; }   // Muon's momentum too
  const ParameterStore<float>& second_moment() const { return v_; }  // of what Adam moves
  // Calls visit("m.", store) and visit("v.", store) with every store of moments: those above, and their like in bf16,
  // which hold what Adam moves if moments are in bf16; then those above hold Muon's alone.
  template <class Visit>
  void each_moment(const Visit& visit) {
    visit("m.", m_), visit("v.", v_), visit("m.", m_bf16_), visit("v.", v_bf16_);
  }
  template <class Visit>
  void each_moment(const Visit& visit) const {
    visit("m.", m_), visit("v.", v_), visit("m.", m_bf16_), visit("v.", v_bf16_);
  }

 private:
  // What an update does to a parameter.
  struct Treatment {
    double lr = 0.0, weight_decay = 0.0;
    int64_t rows = 0, cols = 0;  // of a matrix that Muon moves,
    int64_t stacked = 1;         // so many of which are a parameter
    bool by_muon() const { return rows > 0; }
    bool operator==(const Treatment&) const = default;
  };
  // Parameters that are treated alike and lie back to back alike in all stores: one stream of memory, so that long
  // stretches are one call.
  struct Stretch {
    Slot slot;
    Treatment treatment;
    int64_t family = 0, first = 0;  // if moments are rounded by chance: whose it is, its first element's number there
  };
  // Where parts of moments are while a GPU works with them.
  template <class T>
  struct Room {
    Buffer<T> m, v;
  };
  bool in_bf16(Slot slot) const { return !m_bf16_.at(slot).empty(); }
  template <class T, class Update>
  void in_parts(std::span<T> m, std::span<T> v, Room<T>& room, const Update& update);
  Treatment treatment_of(const Parameter& parameter, const GroupRates& rates) const;
  std::vector<Stretch> stretches(const ParameterStore<float>& params, const ParameterStore<float>& grads,
                                 const GroupRates& rates, std::optional<int64_t> layer) const;
  void update_some(std::optional<int64_t> layer, ParameterStore<float>& params, const ParameterStore<float>& grads,
                   const GroupRates& rates, double grad_scale);
  bool continues(const Stretch& stretch, int64_t next, const ParameterStore<float>& params,
                 const ParameterStore<float>& grads) const;
  void run_adam(const Stretch& stretch, ParameterStore<float>& params, const ParameterStore<float>& grads,
                double grad_scale);
  template <class P>
  void run_muon(MuonWorkspace<P>& workspace, const Stretch& stretch, ParameterStore<float>& params,
                const ParameterStore<float>& grads, double grad_scale);

  OptimizerOptions options_;
  bool passes_;  // moments lie in the host's memory, and are updated elsewhere
  ParameterStore<float> m_, v_;
  ParameterStore<bf16> m_bf16_, v_bf16_;
  Room<float> room_;
  Room<bf16> room_bf16_;
  std::variant<MuonWorkspace<F32>, MuonWorkspace<Bf16>> workspace_;
  int64_t updates_ = 0;
};

}  // namespace troupe
