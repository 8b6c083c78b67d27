#include "model/decoder.h"

#include <algorithm>
#include <numeric>
#include <optional>
#include <utility>

#include "base/error.h"
#include "model/decoder_state.h"
#include "model/walk.h"
#include "ops/elementwise.h"
#include "ops/loss.h"
#include "ops/route/losses.h"

namespace troupe {

template <class P>
Decoder<P>::Decoder(const ModelConfig& config, const ParameterStore<real>& params, DecoderOptions options)
    : state_(new DecoderState<P>{.weights = {config, params, options.ranks},
                                 .options = options,
                                 .work = Workspace<P>(params.memory()),
                                 .sizes = config}) {
  // All experts may choose the tokens of one rank: rows for that. Untouched memory is none.
  if (options.ranks && config.moe.router == RouterKind::kExpertChoice) state_->sizes.moe.top_k = config.moe.num_experts;
}

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
  for (RouterStats& layer : state_->stats) layer.arrive();
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

  DecoderState<P>& s;
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
    const Share own = s.own_tokens();
    walk(s.weights, {part<const int32_t>(batch.src, own), part<const int32_t>(s.positions_T, own), num_positions()},
         reporting, s.work, attend(reporting));
    s.merge_reports();
  }

  // From the gradient of the final norm's output, in scratch.dnorm_TD.
  void backward(ParameterStore<real>& grads, const std::function<void(int64_t layer)>& layer_done) const {
    const std::vector<double> scale = router_loss_scale();
    Pass<P> back = pass();
    back.loss_scale = scale;
    Workspace<P>& work = s.work;
    const Matrix<real> dx = work.dx_TD;
    run(Fill<real>{.x = dx});
    // Whoever ends dx leaves what the next block reads it as.
    RoundedGradient<P> ready, next;
    const auto expect = [&](const auto& block) {
      next = block.wants(back, grads);
      back.next = next.dy_TD ? &next : nullptr;
    };
    const auto expect_layer = [&](int64_t l) {
      if (l < 0) return;
      std::visit(expect, s.weights.layers[static_cast<size_t>(l)].feed_forward);
      if (!std::as_const(grads).layers_place().empty()) next.bias = {};  // it lies where those of the layer above do
    };
    const auto advance = [&] {
      ready = std::exchange(next, {});
      back.ready = std::exchange(back.next, nullptr) ? &ready : nullptr;
    };
    expect_layer(config().num_layers - 1);
    s.weights.final_norm.backward(work.stream.back(), work.final_norm, work.scratch.dnorm_TD, dx, grads, back.next);
    for (int64_t l = config().num_layers - 1; l >= 0; --l) {
      // Again up to what the backward pass reads; the layer's output, the next one's input, is only rewritten.
      if (work.keep() == Keep::kLayerInputs) walk_layer(s.weights, l, back, work, attend(back));
      const DecoderLayer<P>& layer = s.weights.layers[static_cast<size_t>(l)];
      LayerActivations<P>& acts = work.layer(l);
      const Matrix<const real> x = work.stream[2 * l], mid = work.stream[2 * l + 1];
      const bool parallel = config().parallel_block;
      const Matrix<real> dout = parallel ? work.scratch.dout_TD : dx;
      if (parallel) run(Copy<real>{dx, dout});
      advance();
      if (!parallel) expect(layer.attention);  // else it reads what the feed-forward block does
      std::visit(
          [&](const auto& block) { block.backward(back, parallel ? x : mid, dout, acts.of(block), dx, grads); },
          layer.feed_forward);
      advance();
      expect_layer(l - 1);
      layer.attention.backward(back, x, dout, acts.attention, dx, grads);
      layer_done(l);
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
    const int64_t T = static_cast<int64_t>(s.targets_T.size());
    const int64_t size = routing_group_tokens(config().moe, {T / s.shape.S, s.shape.S, {}});
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

  // May be called when the decoder is at another micro-batch.
  Later<PassSums> sums(std::span<const real> nll, const Later<double>& squared_lse, double divergence = 0.0) const {
    LossSum counted;
    counted.divergence = divergence;
    Later<double> nll_later;
    run(Sum<real>{nll, &counted.nll, &nll_later});
    counted.tokens = std::count_if(s.targets_T.begin(), s.targets_T.end(), [](int32_t id) { return id >= 0; });
    return [counted, nll_later, squared_lse, ranks = s.is_shared() ? s.options.ranks : nullptr, routers = s.stats,
            tokens = s.stats.empty() ? std::vector<double>() : group_tokens(), layer_scale = router_layer_scale(),
            &moe = config().moe, z_loss = mode.z_loss] {
      PassSums sums{counted, routers};
      LossSum& loss = sums.loss;
      if (nll_later) loss.nll = nll_later();
      loss.z = squared_lse();
      if (ranks) {
        double all[] = {loss.nll, loss.z, loss.divergence};
        ranks->sum(std::span(all), "loss");
        loss.nll = all[0], loss.z = all[1], loss.divergence = all[2];
      }
      const auto terms = router_losses<real>();
      std::vector<double> router(terms.size(), 0.0);
      for (RouterStats& stats : sums.routers) {
        stats.arrive();
        for (size_t i = 0; i < terms.size(); ++i)
          for (size_t g = 0; g < tokens.size(); ++g)
            router[i] += layer_scale * tokens[g] * stats.losses[i].by_group[g];
        loss.choices += std::accumulate(stats.load_E.begin(), stats.load_E.end(), int64_t{0});
        loss.dropped += std::accumulate(stats.dropped_K.begin(), stats.dropped_K.end(), int64_t{0});
      }
      loss.total = loss.nll;
      for (size_t i = 0; i < terms.size(); ++i) {
        loss.total += terms[i].weight(moe) * router[i];
        if (terms[i].name == kBalanceLoss) loss.aux = router[i];
      }
      loss.total += z_loss * loss.z;
      return sums;
    };
  }

  // Sums come last unless they are asked for before, so that neither a GPU nor ranks wait in between.
  Later<PassSums> backward(ParameterStore<real>& grads, const LayerDone& layer_done, const Later<double>& squared_lse,
                           double divergence) const {
    const auto with_teacher = [&] {
      return [of_pass = sums(s.work.nll_T, squared_lse, divergence), alpha = s.teacher ? s.distillation.alpha : 0.0] {
        PassSums all = of_pass();
        if (alpha != 0.0) all.loss.total += alpha * (all.loss.divergence - all.loss.nll);
        return all;
      };
    };
    std::optional<PassSums> found;
    const std::function<LossSum()> total = [&] {
      if (!found) found = with_teacher()();
      return found->loss;
    };
    backward(grads, [&](int64_t layer) {
      if (layer_done) layer_done(layer, total);
    });
    if (s.is_shared()) total();
    if (found) return [all = *found] { return all; };
    return with_teacher();
  }

  std::vector<double> router_loss_scale() const {
    std::vector<double> scale;
    if (s.stats.empty()) return scale;
    std::vector<double> tokens = group_tokens();
    if (s.is_shared() && config().moe.group_sequences > 0) {  // those of this rank
      const int64_t size = config().moe.group_sequences;
      tokens.erase(tokens.begin() + (s.own.end + size - 1) / size, tokens.end());
      tokens.erase(tokens.begin(), tokens.begin() + s.own.begin / size);
    }
    for (const RouterLoss<real>& loss : router_losses<real>())
      for (const double count : tokens) scale.push_back(count * (loss.weight(config().moe) * router_layer_scale()));
    return scale;
  }
};

// Consecutive sequences of it.
Batch sequences_of(const Batch& batch, Share share) {
  Batch some{.B = share.size(), .S = batch.S};
  const auto take = [&](const auto& all, auto& part) {
    if (!all.empty()) part.assign(all.begin() + share.begin * batch.S, all.begin() + share.end * batch.S);
  };
  take(batch.src, some.src), take(batch.tgt, some.tgt), take(batch.begins_text, some.begins_text);
  some.texts_apart = batch.texts_apart, some.first_sequence = batch.first_sequence + share.begin;
  return some;
}

// What the teacher, if there is one, makes of this rank's sequences of `batch`; its sum of divergences will be in
// `divergence`.
template <class P>
OutputTeacher<P> taught(DecoderState<P>& s, const Batch& batch, double& divergence) {
  if (!s.teacher || s.own.size() == 0) return {};
  Decoder<P>& teacher = *s.teacher;
  return {.embed = &teacher.weights().output.bank(),
          .h_TD = teacher.hidden(s.is_shared() ? sequences_of(batch, s.own) : batch),
          .divisor = teacher.config().logit_divisor,
          .cap = teacher.config().logit_cap,
          .alpha = s.distillation.alpha,
          .temperature = s.distillation.temperature,
          .divergence = &divergence};
}

// Whether it trains and where its tokens stand is the decoder's to say, whatever the caller's mode has.
RunMode mode_for(const Batch& batch, RunMode mode, bool training, Share own) {
  mode.training = training;
  mode.first_token = (batch.first_sequence + own.begin) * batch.S;
  return mode;
}

// A pass in evaluation. A batch of fewer routing groups than ranks is scored by every rank; all make the same calls.
template <class P>
MicroBatch<P> evaluated(DecoderState<P>& s, const Batch& batch, const RunMode& mode) {
  Communicator* const ranks = s.options.ranks;
  s.read_batch(batch, ranks && (batch.B + s.routing_unit() - 1) / s.routing_unit() >= ranks->size());
  s.work.plan(s.sizes, s.own.size(), batch.S, Keep::kNothing);
  s.place_batch();
  const MicroBatch<P> micro{s, batch, mode_for(batch, mode, false, s.own)};
  micro.forward();
  return micro;
}

}  // namespace

template <class P>
LossSum Decoder<P>::forward_backward(const Batch& batch, const RunMode& mode, ParameterStore<real>& grads,
                                     const LayerDone& layer_done) {
  return forward_backward_later(batch, mode, grads, layer_done)().loss;
}

template <class P>
Later<PassSums> Decoder<P>::forward_backward_later(const Batch& batch, const RunMode& mode,
                                                   ParameterStore<real>& grads, const LayerDone& layer_done) {
  DecoderState<P>& s = *state_;
  s.read_batch(batch, s.options.ranks != nullptr);  // of which a rank may get nothing
  s.work.plan(s.sizes, s.own.size(), batch.S, s.options.recompute ? Keep::kLayerInputs : Keep::kAll);
  s.place_batch();
  const MicroBatch<P> micro{s, batch, mode_for(batch, mode, true, s.own)};
  micro.forward();
  double squared_lse = 0.0, divergence = 0.0;
  Later<double> squared_lse_later;
  const std::span<real> dembed = grads.at(s.weights.slots.output), dbias = grads.at(s.weights.slots.output_bias);
  if (dembed.empty() && !dbias.empty())
    fail(ErrorCode::kUsage, "gradients: output.bias: expected the output matrix's too, got it alone");
  run(OutputLossWithGradient<P>{.embed = s.weights.output.bank(),
                                .h_TD = s.work.final_norm.y_TD,
                                .targets_T = s.work.targets_T,
                                .nll_T = s.work.nll_T,
                                .dh_TD = s.work.scratch.dnorm_TD,
                                .dembed_VD = micro.rows_of(dembed).data,
                                .divisor = config().logit_divisor,
                                .cap = config().logit_cap,
                                .z_loss = mode.z_loss,
                                .squared_lse = &squared_lse,
                                .later = &squared_lse_later,
                                .teacher = taught<P>(s, batch, divergence),
                                .dbias_V = dbias.empty() ? nullptr : dbias.data()});
  if (!squared_lse_later) squared_lse_later = [squared_lse] { return squared_lse; };
  return micro.backward(grads, layer_done, squared_lse_later, divergence);
}

template <class P>
void Decoder<P>::learn_from(Decoder& teacher, const Distillation& distillation) {
  if (teacher.state_->options.ranks)
    fail(ErrorCode::kInternal, "decoder: expected a teacher with all its experts, got one that ranks share");
  state_->teacher = &teacher, state_->distillation = distillation;
}

template <class P>
Matrix<const typename P::operand> Decoder<P>::hidden(const Batch& batch) {
  evaluated<P>(*state_, batch, {});
  return state_->work.final_norm.y_TD;
}

template <class P>
LossSum Decoder<P>::score(const Batch& batch, const RunMode& mode, std::span<real> nll_T, std::span<int32_t> argmax_T) {
  DecoderState<P>& s = *state_;
  const MicroBatch<P> micro = evaluated<P>(s, batch, mode);
  run(OutputLoss<P>{.embed = s.weights.output.bank(),
                    .h_TD = s.work.final_norm.y_TD,
                    .targets_T = s.work.targets_T,
                    .nll_T = s.work.nll_T,
                    .argmax_T = argmax_T.empty() ? std::span<int32_t>() : s.work.argmax_T,
                    .divisor = config().logit_divisor,
                    .cap = config().logit_cap});
  if (s.is_shared()) {
    Communicator* const ranks = s.options.ranks;
    std::vector<int64_t> tokens;
    for (int r = 0; r < ranks->size(); ++r)
      tokens.push_back(share_of(batch.B, r, ranks->size(), s.routing_unit()).size() * batch.S);
    const auto gather = [&]<class T>(std::span<const T> own, std::span<T> all) {
      if (all.empty()) return;
      std::vector<T> here(own.size());
      copy<T>(own, here);
      ranks->gather(here.data(), all.data(), tokens, sizeof(T), "scores");
    };
    gather(std::span<const real>(s.work.nll_T), nll_T);
    gather(std::span<const int32_t>(s.work.argmax_T), argmax_T);
  } else {
    copy<real>(s.work.nll_T.first(nll_T.size()), nll_T);
    copy<int32_t>(s.work.argmax_T.first(argmax_T.size()), argmax_T);
  }
  return micro.sums(s.work.nll_T, [] { return 0.0; })().loss;
}

template class Decoder<F64>;
template class Decoder<F32>;
template class Decoder<Bf16>;

}  // namespace troupe
