#include "model/decoder.h"

#include <algorithm>
#include <numeric>

#include "base/error.h"
#include "model/walk.h"
#include "ops/elementwise.h"
#include "ops/loss.h"
#include "ops/route/losses.h"

namespace troupe {

template <class P>
struct Decoder<P>::State {
  DecoderWeights<P> weights;
  DecoderOptions options;
  Workspace<P> work;

  // The batch at hand as the host has it, and what its MoE layers reported.
  SequenceShape shape;
  std::vector<int32_t> positions_T, targets_T;
  std::vector<uint8_t> valid_T;
  std::vector<int32_t> key_end_T;
  std::vector<RouterStats> stats;

  void read_batch(const Batch& batch);
  void place_batch();
};

// Ids are checked here, once; positions count real tokens (fairseq utils.py:239-249).
template <class P>
void Decoder<P>::State::read_batch(const Batch& batch) {
  const int64_t T = batch.tokens();
  if (batch.B < 1 || batch.S < 1 || static_cast<int64_t>(batch.src.size()) != T ||
      static_cast<int64_t>(batch.tgt.size()) != T)
    fail(ErrorCode::kUsage, "batch: expected B, S >= 1 and B*S ids in src and tgt, got B {}, S {}, {} and {} ids",
         batch.B, batch.S, batch.src.size(), batch.tgt.size());
  if (weights.config.positions == Positions::kLearned && batch.S > weights.config.context)
    fail(ErrorCode::kUsage, "batch: expected at most {} positions (model.context, learned), got {}",
         weights.config.context, batch.S);
  positions_T.resize(T), targets_T.resize(T);
  bool has_pad = false;
  for (int64_t b = 0; b < batch.B; ++b) {
    int32_t position = kFirstPosition;
    for (int64_t t = b * batch.S; t < (b + 1) * batch.S; ++t) {
      const int32_t id = batch.src[t];
      if (id < 0 || id >= weights.config.vocab_size)
        fail(ErrorCode::kData, "batch: token {} of sequence {}: expected an id in [0, {}), got {}", t - b * batch.S, b,
             weights.config.vocab_size, id);
      if (batch.tgt[t] >= weights.config.vocab_size)
        fail(ErrorCode::kData, "batch: target {} of sequence {}: expected an id < {}, got {}", t - b * batch.S, b,
             weights.config.vocab_size, batch.tgt[t]);
      if (batch.texts_apart && id == weights.config.eos_id) position = kFirstPosition;
      const bool pad = id == weights.config.pad_id;
      has_pad |= pad;
      positions_T[t] = pad ? kPadPosition : position++;
      targets_T[t] = batch.tgt[t] < 0 || batch.tgt[t] == weights.config.pad_id ? -1 : batch.tgt[t];
    }
  }
  valid_T.clear();
  if (has_pad) {
    valid_T.resize(T);
    std::transform(batch.src.begin(), batch.src.end(), valid_T.begin(),
                   [&](int32_t id) { return static_cast<uint8_t>(id != weights.config.pad_id); });
  }
  key_end_T.assign(batch.texts_apart ? T : 0, static_cast<int32_t>(batch.S));
  for (int64_t t = T - 2; batch.texts_apart && t >= 0; --t) {
    const int64_t next = (t + 1) % batch.S;  // 0: t is the last of its sequence
    if (next > 0) key_end_T[t] = batch.src[t + 1] == weights.config.eos_id ? static_cast<int32_t>(next) : key_end_T[t + 1];
  }
  shape = {batch.B, batch.S, {}};
  stats.clear();
}

// To where ops read it, once there is memory for a batch of its size.
template <class P>
void Decoder<P>::State::place_batch() {
  copy<int32_t>(targets_T, work.targets_T);
  if (!valid_T.empty()) {
    copy<uint8_t>(valid_T, work.valid_T);
    shape.token_valid = work.valid_T;
  }
  if (!key_end_T.empty()) {
    copy<int32_t>(key_end_T, work.key_end_T);
    shape.key_end = work.key_end_T;
  }
}

template <class P>
Decoder<P>::Decoder(const ModelConfig& config, const ParameterStore<real>& params, DecoderOptions options)
    : state_(new State{.weights = {config, params}, .options = options, .work = Workspace<P>(params.memory())}) {}

template <class P>
Decoder<P>::~Decoder() = default;

template <class P>
const ModelConfig& Decoder<P>::config() const {
  return state_->weights.config;
}

template <class P>
const DecoderWeights<P>& Decoder<P>::weights() const {
  return state_->weights;
}

template <class P>
DecoderWeights<P>& Decoder<P>::weights() {
  return state_->weights;
}

template <class P>
std::span<const RouterStats> Decoder<P>::router_stats() const {
  return state_->stats;
}

template <class P>
const Arena& Decoder<P>::arena() const {
  return state_->work.arena();
}

template <class P>
Workspace<P>& Decoder<P>::workspace() {
  return state_->work;
}

namespace {

// One micro-batch on its way through the model and back.
template <class P>
struct MicroBatch {
  using real = typename P::real;

  typename Decoder<P>::State& s;
  const Batch& batch;
  RunMode mode;

  const ModelConfig& config() const { return s.weights.config; }
  int64_t num_positions() const { return s.shape.S + kFirstPosition; }
  Pass<P> pass() const {
    Pass<P> pass{.shape = s.shape, .mode = mode, .scratch = s.work.scratch};
    set_positions(s.weights, s.work, num_positions(), pass);
    return pass;
  }

  // Attention over the batch's own sequences.
  auto attend(const Pass<P>& pass) const {
    return [&](int64_t l, Matrix<const real> x, auto& acts, Matrix<real> out) {
      s.weights.layers[static_cast<size_t>(l)].attention.forward(pass, x, x, acts, out);
    };
  }

  void forward() const {
    Pass<P> reporting = pass();
    reporting.reports = &s.stats;
    walk(s.weights, {batch.src, s.positions_T, num_positions()}, reporting, s.work, attend(reporting));
  }

  // From the gradient of the final norm's output, in scratch.dnorm_TD.
  void backward(ParameterStore<real>& grads) const {
    const std::vector<double> scale = router_loss_scale();
    Pass<P> back = pass();
    back.loss_scale = scale;
    Workspace<P>& work = s.work;
    const Matrix<real> dx = work.dx_TD;
    run(Fill<real>{.x = dx});
    s.weights.final_norm.backward(work.stream.back(), work.final_norm, work.scratch.dnorm_TD, dx, grads);
    for (int64_t l = config().num_layers - 1; l >= 0; --l) {
      // Again up to what the backward pass reads; the layer's output, the next one's input, is only rewritten.
      if (work.keep() == Keep::kLayerInputs) walk_layer(s.weights, l, back, work, attend(back));
      const DecoderLayer<P>& layer = s.weights.layers[static_cast<size_t>(l)];
      LayerActivations<P>& acts = work.layer(l);
      const Matrix<const real> x = work.stream[2 * l], mid = work.stream[2 * l + 1];
      const bool parallel = config().parallel_block;
      const Matrix<real> dout = parallel ? work.scratch.dout_TD : dx;
      if (parallel) run(Copy<real>{dx, dout});
      std::visit(
          [&](const auto& block) { block.backward(back, parallel ? x : mid, dout, acts.of(block), dx, grads); },
          layer.feed_forward);
      layer.attention.backward(back, x, dout, acts.attention, dx, grads);
    }
    run(EmbeddingBackward<P>{.tokens_T = work.ids_T,
                             .positions_T = work.positions_T,
                             .pad_id = config().pad_id,
                             .scale = s.weights.embedding_scale(),
                             .dropout = embedding_dropout(s.weights, mode),
                             .dx_TD = dx,
                             .dembed_VD = rows_of(grads.at(s.weights.slots.embed_tokens)),
                             .dpositions_PD = rows_of(grads.at(s.weights.slots.embed_positions))});
  }

  // Rows of width D; none if nothing is held.
  Matrix<real> rows_of(std::span<real> values) const {
    const int64_t D = config().d_model;
    return {values.empty() ? nullptr : values.data(), static_cast<int64_t>(values.size()) / D, D};
  }

  // Scored targets of each routing group.
  std::vector<double> group_tokens() const {
    const int64_t size = routing_group_tokens(config().moe, s.shape), T = s.shape.tokens();
    std::vector<double> counts(static_cast<size_t>((T + size - 1) / size), 0.0);
    for (int64_t t = 0; t < T; ++t) counts[static_cast<size_t>(t / size)] += s.targets_T[t] >= 0;
    return counts;
  }

  // Losses of the router are per token: weight * tokens * (sum or mean over layers), group by group.
  double router_layer_scale() const {
    return config().moe.aux_combine == AuxCombine::kAverage && !s.stats.empty()
               ? 1.0 / static_cast<double>(s.stats.size())
               : 1.0;
  }

  LossSum sums(std::span<const real> nll) const {
    LossSum loss;
    run(Sum<real>{nll, &loss.nll});
    loss.tokens = std::count_if(s.targets_T.begin(), s.targets_T.end(), [](int32_t id) { return id >= 0; });
    const std::vector<double> tokens = s.stats.empty() ? std::vector<double>() : group_tokens();
    const auto terms = router_losses<real>();
    std::vector<double> router(terms.size(), 0.0);
    for (const RouterStats& stats : s.stats) {
      for (size_t i = 0; i < terms.size(); ++i)
        for (size_t g = 0; g < tokens.size(); ++g)
          router[i] += router_layer_scale() * tokens[g] * stats.losses[i].by_group[g];
      loss.choices += std::accumulate(stats.load_E.begin(), stats.load_E.end(), int64_t{0});
      loss.dropped += std::accumulate(stats.dropped_K.begin(), stats.dropped_K.end(), int64_t{0});
    }
    loss.total = loss.nll;
    for (size_t i = 0; i < terms.size(); ++i) {
      loss.total += terms[i].weight(config().moe) * router[i];
      if (terms[i].name == kBalanceLoss) loss.aux = router[i];
    }
    return loss;
  }

  std::vector<double> router_loss_scale() const {
    std::vector<double> scale;
    if (s.stats.empty()) return scale;
    const std::vector<double> tokens = group_tokens();
    for (const RouterLoss<real>& loss : router_losses<real>())
      for (const double count : tokens) scale.push_back(count * (loss.weight(config().moe) * router_layer_scale()));
    return scale;
  }
};

RunMode mode_for(const Batch& batch, RunMode mode, bool training) {
  mode.training = training;
  mode.first_token = batch.first_sequence * batch.S;
  return mode;
}

}  // namespace

template <class P>
LossSum Decoder<P>::forward_backward(const Batch& batch, const RunMode& mode, ParameterStore<real>& grads) {
  State& s = *state_;
  s.read_batch(batch);
  s.work.plan(config(), batch.B, batch.S, s.options.recompute ? Keep::kLayerInputs : Keep::kAll);
  s.place_batch();
  const MicroBatch<P> micro{s, batch, mode_for(batch, mode, true)};
  micro.forward();
  double squared_lse = 0.0;
  run(OutputLossWithGradient<P>{.embed = s.weights.output.bank(),
                                .h_TD = s.work.final_norm.y_TD,
                                .targets_T = s.work.targets_T,
                                .nll_T = s.work.nll_T,
                                .dh_TD = s.work.scratch.dnorm_TD,
                                .dembed_VD = micro.rows_of(grads.at(s.weights.slots.output)).data,
                                .divisor = config().logit_divisor,
                                .cap = config().logit_cap,
                                .z_loss = mode.z_loss,
                                .squared_lse = &squared_lse});
  micro.backward(grads);
  LossSum loss = micro.sums(s.work.nll_T);
  loss.z = squared_lse;
  loss.total += mode.z_loss * squared_lse;
  return loss;
}

template <class P>
LossSum Decoder<P>::score(const Batch& batch, const RunMode& mode, std::span<real> nll_T, std::span<int32_t> argmax_T) {
  State& s = *state_;
  s.read_batch(batch);
  s.work.plan(config(), batch.B, batch.S, Keep::kNothing);
  s.place_batch();
  const MicroBatch<P> micro{s, batch, mode_for(batch, mode, false)};
  micro.forward();
  run(OutputLoss<P>{.embed = s.weights.output.bank(),
                    .h_TD = s.work.final_norm.y_TD,
                    .targets_T = s.work.targets_T,
                    .nll_T = s.work.nll_T,
                    .argmax_T = argmax_T.empty() ? std::span<int32_t>() : s.work.argmax_T,
                    .divisor = config().logit_divisor,
                    .cap = config().logit_cap});
  copy<real>(s.work.nll_T.first(nll_T.size()), nll_T);
  copy<int32_t>(s.work.argmax_T.first(argmax_T.size()), argmax_T);
  return micro.sums(s.work.nll_T);
}

template class Decoder<F64>;
template class Decoder<F32>;
template class Decoder<Bf16>;

}  // namespace troupe
