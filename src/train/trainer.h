// The training step, on one page (trainer.cpp): batch -> loss and gradients -> norm -> optimizer. Knows nothing about
// files, logs or the length of a run.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "model/language_model.h"
#include "nn/lora.h"
#include "ops/route/router_stats.h"
#include "train/optimizer.h"
#include "train/rank_shares.h"
#include "train/schedule.h"

namespace troupe {

struct StepStats {
  int64_t step = 0;                  // updates done, this one included
  LossSum loss;                      // over all micro-batches
  double lr = 0.0;                   // of this update
  double grad_norm = 0.0;            // of the mean loss, before clipping
  std::vector<RouterStats> routers;  // by MoE layer, over all micro-batches
};

// Adapters in place of their matrices (nn/lora.h); everything else is frozen.
struct LoraOptions {
  Selection adapted;  // families of matrices
  int64_t rank = 0;
  double scale = 1.0;
  uint64_t seed = 1;  // of the first A
  double dropout = 0.0;  // of the adapters' inputs in training
};

struct TrainerOptions {
  uint64_t seed = 1;          // of dropout and random second choices
  int64_t micro_batches = 1;  // forward and backward passes per update
  double clip_norm = 0.0;
  double z_loss = 0.0;  // weight, per token
  ExpertGradients expert_gradients = ExpertGradients::kSum;
  AdamConfig adam;
  OptimizerConfig optimizer;
  MuonConfig muon;
  Selection trained = {};  // empty: every parameter that can be; others are frozen, without gradient and moments
  std::optional<LoraOptions> lora = {};  // then `trained` plays no part
};

class Trainer {
 public:
  // Micro-batch `micro` of update `step`, both from 0. Its content must depend on these alone.
  using BatchAt = std::function<Batch(int64_t step, int64_t micro)>;

  // `model` must outlive the trainer.
  Trainer(LanguageModel& model, const Schedule& schedule, const TrainerOptions& options, BatchAt batch_at);

  // One update. Throws kNonFinite naming step and tensor if loss or gradient is not finite; then parameters, moments
  // and step() are as before. Also if the update itself made a parameter infinite: then this trainer is of no more use.
  StepStats step();

  // Throws kNonFinite as step() does, if the moments are not: before a checkpoint of them.
  void require_finite_moments() const;

  void set_steps_done(int64_t steps) { step_ = steps; }  // after parameters and moments were loaded

  LanguageModel& model() { return model_; }
  Optimizer& optimizer() { return optimizer_; }
  // Of the last step: sums over tokens; if they were released (OptimizerConfig), of what belongs to no layer alone.
  const ParameterStore<float>& gradients() const { return adapters_ ? adapters_->grads : grads_; }
  // What is trained: the model's parameters, or adapters, after whose loading merge_adapters() is due.
  ParameterStore<float>& trained() { return adapters_ ? adapters_->lora.values() : model_.params(); }
  const LoraParameters* adapters() const { return adapters_ ? &adapters_->parameters : nullptr; }
  void merge_adapters();
  // Where the model is shared by ranks: who moves what of trained(). gradients() and moments are then those of what this
  // rank moves.
  const RankShares* shares() const { return shares_ ? &*shares_ : nullptr; }

 private:
  struct Adapters {
    Adapters(LanguageModel& model, const LoraOptions& options);
    Adapters(const Adapters&) = delete;
    Adapters& operator=(const Adapters&) = delete;
    ~Adapters();  // then the model's maps know of none

    LanguageModel& model;
    LoraParameters parameters;
    Lora<F32> lora;
    ParameterStore<float> grads;
  };
  // Of what is trained: its parameters, and those of them that are (empty: all).
  const ParameterTable& trained_table() const;
  Selection trained_of_table() const;
  ParameterStore<float>& gradients_of_trained() { return adapters_ ? adapters_->grads : grads_; }
  LayerDone layer_done(int64_t micro);  // of a micro-batch
  void scale_experts();
  void pass_and_update(StepStats& stats);
  void pass_and_update_by_layers(StepStats& stats);

  LanguageModel& model_;
  Schedule schedule_;
  TrainerOptions options_;
  BatchAt batch_at_;
  std::unique_ptr<Adapters> adapters_;
  std::optional<RankShares> shares_;
  ParameterStore<float> grads_;  // of the model's parameters
  Optimizer optimizer_;
  int64_t step_ = 0;
};

}  // namespace troupe
