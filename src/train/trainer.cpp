#include "train/trainer.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/rng.h"
#include "train/balance_bias.h"
#include "train/gradients.h"

namespace troupe {
namespace {

constexpr uint64_t kPassStream = 0x70617373;  // keeps dropout's keys apart from those of the data order

RunMode training_mode(const TrainerOptions& options, int64_t step, const Batch& batch,
                      std::span<const RouterStats> routed_before) {
  RunMode mode;
  mode.routed_before = routed_before;
  mode.training = true;
  mode.key = mix_key(mix_key(options.seed, kPassStream), static_cast<uint64_t>(step));
  mode.first_token = batch.first_sequence * batch.S;
  mode.z_loss = options.z_loss;
  return mode;
}

void add(std::vector<RouterStats>& sum, std::span<const RouterStats> stats) {
  sum.resize(stats.size());
  for (size_t i = 0; i < stats.size(); ++i) sum[i] += stats[i];
}

Selection trained(const TrainerOptions& options) {
  return [chosen = options.trained](const Parameter& parameter) {
    return parameter.trainable() && (!chosen || chosen(parameter));
  };
}

std::optional<RankShares> shares_of(LanguageModel& model, const TrainerOptions& options) {
  if (!model.ranks()) return std::nullopt;
  return std::optional<RankShares>(std::in_place, model.table(), trained(options), *model.ranks());
}

// Gradients are held of what is trained of the model's, moments of what this rank moves.
Selection held(LanguageModel& model, const TrainerOptions& options) {
  if (!model.ranks()) return trained(options);
  return [&params = model.params(), chosen = trained(options)](const Parameter& parameter) {
    return chosen(parameter) && !std::as_const(params).at(parameter.slot).empty();
  };
}

Selection moved(const std::optional<RankShares>& shares, const TrainerOptions& options) {
  if (!shares) return trained(options);
  return [&shares, chosen = trained(options)](const Parameter& parameter) {
    return chosen(parameter) && shares->is_own(parameter);
  };
}

constexpr const char* kFinite = "finite values";  // what one rank finds, all say

}  // namespace

Trainer::Trainer(LanguageModel& model, const Schedule& schedule, const TrainerOptions& options, BatchAt batch_at)
    : model_(model),
      schedule_(schedule),
      options_(options),
      batch_at_(std::move(batch_at)),
      shares_(shares_of(model, options)),
      grads_(model.table(), held(model, options), model.params().memory()),
      optimizer_(model.table(),
                 {.adam = options.adam,
                  .optimizer = options.optimizer,
                  .muon = options.muon,
                  .precision = model.precision()},
                 moved(shares_, options), model.params().memory()) {}

void Trainer::scale_experts() {
  const auto shares = static_cast<double>(std::min<int64_t>(model_.ranks()->size(), model_.config().moe.num_experts));
  const auto factor = static_cast<float>(std::sqrt(shares));
  for (const Parameter& parameter : grads_.entries())
    if (parameter.role == Role::kExpert)
      for (float& gradient : grads_.at(parameter.slot)) gradient *= factor;
}

// Of several ranks each computes its sequences of every micro-batch (model/decoder.cpp): loss and statistics are already
// those of all.
StepStats Trainer::step() {
  StepStats stats{.step = step_ + 1, .loss = {}, .lr = schedule_(step_), .grad_norm = 0.0, .routers = {}};
  grads_.set_zero();
  for (int64_t micro = 0; micro < options_.micro_batches; ++micro) {
    const Batch batch = batch_at_(step_, micro);
    stats.loss += model_.forward_backward(batch, training_mode(options_, step_, batch, stats.routers), grads_);
    add(stats.routers, model_.router_stats());
  }
  Communicator* const ranks = model_.ranks();
  if (shares_) shares_->sum_gradients(grads_);
  if (shares_ && options_.expert_gradients == ExpertGradients::kSqrtWorldSize) scale_experts();
  stats.grad_norm = gradient_norm(grads_, stats.loss.tokens, ranks);
  run_together(
      ranks, [&] { require_finite(stats.step, stats.loss, stats.grad_norm, model_.params(), grads_); }, kFinite);
  const double scale = clip_factor(stats.grad_norm, options_.clip_norm) / static_cast<double>(stats.loss.tokens);
  optimizer_.update(model_.params(), grads_, rates_at(options_.optimizer.lr, stats.lr, schedule_.peak()), scale);
  run_together(ranks, [&] { require_finite_update(stats.step, "", model_.params()); }, kFinite);
  if (shares_) shares_->spread(model_.params());
  update_balance_biases(model_.params(), stats.routers, model_.config().moe.bias_rate, options_.trained);
  ++step_;
  return stats;
}

void Trainer::require_finite_moments() const {
  const auto check = [&] {
    require_finite_update(step_, "first moment of ", optimizer_.first_moment());
    require_finite_update(step_, "second moment of ", optimizer_.second_moment());
  };
  run_together(model_.ranks(), check, kFinite);
}

}  // namespace troupe
