#include "train/trainer.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/error.h"
#include "base/rng.h"
#include "model/decoder_weights.h"
#include "ops/adam.h"
#include "ops/transfer.h"
#include "train/balance_bias.h"
#include "train/gradients.h"

namespace troupe {
namespace {

constexpr uint64_t kPassStream = 0x70617373;  // keeps dropout's keys apart from those of the data order

RunMode training_mode(const TrainerOptions& options, int64_t step, std::span<const RouterStats> routed_before) {
  RunMode mode;
  mode.routed_before = routed_before;
  mode.key = mix_key(mix_key(options.seed, kPassStream), static_cast<uint64_t>(step));
  mode.z_loss = options.z_loss;
  return mode;
}

void add(std::vector<RouterStats>& sum, std::span<const RouterStats> stats) {
  sum.resize(stats.size());
  for (size_t i = 0; i < stats.size(); ++i) sum[i] += stats[i];
}

Selection trained(const TrainerOptions& options) {
  if (options.lora) return [](const Parameter&) { return false; };  // of the model's
  return [chosen = options.trained](const Parameter& parameter) {
    return parameter.trainable() && (!chosen || chosen(parameter));
  };
}

// Gradients are held of what is trained of the model's, moments of what this rank moves.
Selection held(LanguageModel& model, const TrainerOptions& options) {
  if (!model.ranks()) return trained(options);
  return [&params = model.params(), chosen = trained(options)](const Parameter& parameter) {
    return chosen(parameter) && !std::as_const(params).at(parameter.slot).empty();
  };
}

// `chosen` of the table whose parameters are moved.
Selection moved(const std::optional<RankShares>& shares, const Selection& chosen) {
  if (!shares) return chosen;
  return [&shares, chosen](const Parameter& parameter) {
    return (!chosen || chosen(parameter)) && shares->is_own(parameter);
  };
}

constexpr const char* kFinite = "finite values";  // what one rank finds, all say

}  // namespace

Trainer::Adapters::Adapters(LanguageModel& model, const LoraOptions& options)
    : model(model),
      parameters(make_lora_parameters(model.table(), options.adapted, options.rank)),
      lora(parameters, options.scale, model.params(), model.held(), options.dropout),
      grads(parameters.table, model.held(), model.params().memory()) {
  initialize(lora.values(), options.seed);
  model.visit([&](auto& decoder) { lora.attach(decoder.weights(), grads); });
}

Trainer::Adapters::~Adapters() {
  model.visit([&](auto& decoder) { lora.detach(decoder.weights()); });
}

Trainer::Trainer(LanguageModel& model, const Schedule& schedule, const TrainerOptions& options, BatchAt batch_at)
    : model_(model),
      schedule_(schedule),
      options_(options),
      batch_at_(std::move(batch_at)),
      adapters_(options.lora ? std::make_unique<Adapters>(model, *options.lora) : nullptr),
      shares_(model.ranks() ? std::optional<RankShares>(std::in_place, trained_table(), trained_of_table(), *model.ranks())
                            : std::nullopt),
      grads_(model.table(), held(model, options), model.params().memory(),
             options.optimizer.release_gradients ? LayersLie::kTogether : LayersLie::kApart),
      optimizer_(trained_table(),
                 {.adam = options.adam,
                  .optimizer = options.optimizer,
                  .muon = options.muon,
                  .precision = model.precision(),
                  .seed = options.seed},
                 moved(shares_, trained_of_table()), model.params().memory()) {
  if (adapters_) merge_adapters();
  if (!options.optimizer.release_gradients) return;
  if (options.micro_batches != 1 || options.clip_norm > 0.0 || model.ranks() || options.lora)
    fail(ErrorCode::kUsage,
         "train.optimizer.release_gradients: expected one micro-batch an update, no clipping, one process and no "
         "adapters with it, got {} micro-batches, train.clip_norm {}, {} and {}",
         options.micro_batches, options.clip_norm, model.ranks() ? "ranks" : "one process",
         options.lora ? "adapters" : "no adapters");
}

void Trainer::scale_experts() {
  const auto shares = static_cast<double>(std::min<int64_t>(model_.ranks()->size(), model_.config().moe.num_experts));
  const auto factor = static_cast<float>(std::sqrt(shares));
  ParameterStore<float>& grads = gradients_of_trained();
  for (const Parameter& parameter : grads.entries())
    if (parameter.role == Role::kExpert)
      on_host<float>(grads.at(parameter.slot), [factor](std::span<float> values) {
        for (float& gradient : values) gradient *= factor;
      });
}

const ParameterTable& Trainer::trained_table() const {
  return adapters_ ? adapters_->parameters.table : model_.table();
}

Selection Trainer::trained_of_table() const { return adapters_ ? Selection() : troupe::trained(options_); }

void Trainer::merge_adapters() { adapters_->lora.merge(model_.params()); }

LayerDone Trainer::layer_done(int64_t micro) {
  if (!shares_ || micro + 1 < options_.micro_batches) return {};
  return [this](int64_t layer, const auto&) { shares_->layer_done(gradients_of_trained(), layer); };
}

// Of several ranks each computes its sequences of every micro-batch (model/decoder.cpp): loss and statistics are already
// those of all.
void Trainer::pass_and_update(StepStats& stats) {
  if (adapters_) adapters_->grads.set_zero();
  const bool read_by_next = model_.config().moe.balance_over == BalanceOver::kUpdate;
  std::vector<Later<PassSums>> passes;  // whose sums a GPU is waited for once, with the norm
  const auto take = [&] {
    for (const Later<PassSums>& pass : passes) {
      const PassSums sums = pass();
      stats.loss += sums.loss;
      add(stats.routers, sums.routers);
    }
    passes.clear();
  };
  for (int64_t micro = 0; micro < options_.micro_batches; ++micro) {
    const Batch batch = batch_at_(step_, micro);
    passes.push_back(
        model_.forward_backward_later(batch, training_mode(options_, step_, stats.routers), grads_, layer_done(micro)));
    if (read_by_next) take();
  }
  Communicator* const ranks = model_.ranks();
  if (shares_) shares_->sum_gradients(gradients_of_trained());
  if (shares_ && options_.expert_gradients == ExpertGradients::kSqrtWorldSize) scale_experts();
  const double norm_of_sums = gradient_norm(gradients(), 1, ranks);
  take();  // all that it waits for is there now
  stats.grad_norm = norm_of_sums / static_cast<double>(stats.loss.tokens);
  run_together(
      ranks, [&] { require_finite(stats.step, stats.loss, stats.grad_norm, trained(), gradients()); }, kFinite);
  const double scale = clip_factor(stats.grad_norm, options_.clip_norm) / static_cast<double>(stats.loss.tokens);
  optimizer_.update(trained(), gradients(), rates_at(options_.optimizer.lr, stats.lr, schedule_.peak()), scale);
}

// The optimizer takes the gradients of a layer at the end of its backward pass, and those of the layer before lie where
// they did. Numbers are those of the other way, but for the order in which the squares of the norm are added.
void Trainer::pass_and_update_by_layers(StepStats& stats) {
  const GroupRates rates = rates_at(options_.optimizer.lr, stats.lr, schedule_.peak());
  double squares = 0.0;
  bool begun = false;
  const auto take = [&](int64_t layer, const LossSum& loss) {
    const ParameterStore<float>& held = grads_;
    const double of_layer = sum_of_squares<float>(layer < 0 ? held.beside_layers() : held.layers_place());
    require_finite_layer(stats.step, loss, of_layer, held, layer);
    squares += of_layer;
    if (!std::exchange(begun, true)) optimizer_.begin_update();
    optimizer_.update_layer(layer, model_.params(), held, rates, 1.0 / static_cast<double>(loss.tokens));
    if (layer > 0) grads_.set_layers_place_zero();
  };
  const Batch batch = batch_at_(step_, 0);
  stats.loss = model_.forward_backward(batch, training_mode(options_, step_, stats.routers), grads_,
                                       [&](int64_t layer, const auto& loss) { take(layer, loss()); });
  add(stats.routers, model_.router_stats());
  take(-1, stats.loss);
  stats.grad_norm = std::sqrt(squares) / static_cast<double>(stats.loss.tokens);
}

StepStats Trainer::step() {
  StepStats stats{.step = step_ + 1, .loss = {}, .lr = schedule_(step_), .grad_norm = 0.0, .routers = {}};
  grads_.set_zero();
  options_.optimizer.release_gradients ? pass_and_update_by_layers(stats) : pass_and_update(stats);
  run_together(
      model_.ranks(), [&] { require_finite_update(stats.step, "", trained()); }, kFinite);
  if (shares_) shares_->spread(trained());
  if (adapters_) {
    merge_adapters();
    run_together(
        model_.ranks(), [&] { require_finite_update(stats.step, "", model_.params()); }, kFinite);
  }
  if (!adapters_)
    update_balance_biases(model_.params(), stats.routers, model_.config().moe.bias_rate, options_.trained);
  ++step_;
  return stats;
}

void Trainer::require_finite_moments() const {
  const auto check = [&] {
    optimizer_.each_moment([&](std::string_view which, const auto& moments) {
      require_finite_update(step_, which == "m." ? "first moment of " : "second moment of ", moments);
    });
  };
  run_together(model_.ranks(), check, kFinite);
}

}  // namespace troupe
