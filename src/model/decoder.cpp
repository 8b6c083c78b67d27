#include "model/decoder.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/error.h"
#include "model/decoder_parameters.h"
#include "model/decoder_state.h"
#include "ops/embedding.h"
#include "ops/loss.h"

namespace troupe {
namespace {

constexpr int64_t kEmbeddingLayer = -1;  // its dropout site
constexpr int64_t kFirstPosition = 2;    // row of a sequence's first token (fairseq: padding_idx + 1)
constexpr int64_t kPadPosition = 1;

template <class real>
double sum_in_order(std::span<const real> values) {
  double sum = 0.0;
  for (const real value : values) sum += static_cast<double>(value);
  return sum;
}

}  // namespace

AttentionSpec attention_spec(const ModelConfig& config, int64_t layer) {
  return {.layer = layer,
          .d_model = config.d_model,
          .num_heads = config.num_heads,
          .dropout = config.dropout,
          .weight_dropout = config.attention_dropout};
}

namespace {

MlpSpec mlp_spec(const ModelConfig& config, int64_t num_experts, int64_t d_ff) {
  return {.num_experts = num_experts, .d_model = config.d_model, .d_ff = d_ff, .gelu = config.gelu};
}

template <class P>
std::variant<FfnBlock<P>, MoeBlock<P>> make_feed_forward(const ModelConfig& config, int64_t layer,
                                                         const LayerSlots& slots,
                                                         const ParameterStore<typename P::real>& params) {
  if (const auto* sparse = std::get_if<MoeSlots>(&slots.feed_forward))
    return MoeBlock<P>(moe_spec(config, layer), *sparse, params);
  return FfnBlock<P>(ffn_spec(config, layer), std::get<FfnSlots>(slots.feed_forward), params);
}

}  // namespace

FfnSpec ffn_spec(const ModelConfig& config, int64_t layer) {
  return {.layer = layer, .mlp = mlp_spec(config, 1, config.d_ff), .dropout = config.dropout};
}

MoeSpec moe_spec(const ModelConfig& config, int64_t layer) {
  return {.layer = layer,
          .mlp = mlp_spec(config, config.moe.num_experts, config.expert_d_ff()),
          .dropout = config.dropout,
          .routing = config.moe};
}

ScratchSpec scratch_spec(const ModelConfig& config) {
  ScratchSpec spec{.d_model = config.d_model};
  if (config.num_moe_layers() < config.num_layers) spec.d_ff = config.d_ff;
  if (config.num_moe_layers() > 0) {
    spec.num_experts = config.moe.num_experts, spec.top_k = config.moe.top_k;
    spec.expert_d_ff = config.expert_d_ff();
  }
  return spec;
}

template <class P>
DecoderLayer<P>::DecoderLayer(const ModelConfig& config, int64_t layer, const LayerSlots& slots,
                              const ParameterStore<real>& params)
    : attention(attention_spec(config, layer), slots.attention, params),
      feed_forward(make_feed_forward<P>(config, layer, slots, params)) {}

template <class P>
void DecoderLayer<P>::Activations::plan(Arena& arena, const ModelConfig& config, bool dense, bool sparse, int64_t T) {
  attention.plan(arena, attention_spec(config, 0), T);
  if (dense) ffn.plan(arena, ffn_spec(config, 0), T);
  if (sparse) moe.plan(arena, moe_spec(config, 0), T);
}

template <class P>
Decoder<P>::State::State(const ModelConfig& config, const ParameterStore<real>& params, DecoderOptions options)
    : config(config),
      params(&params),
      slots(make_decoder_parameters(config).slots),
      options(options),
      final_norm(params, slots.final_norm) {
  if (params.table().num_entries() != make_decoder_parameters(config).table.num_entries())
    fail(ErrorCode::kInternal, "decoder: expected parameters of its configuration, got those of another");
  for (int64_t layer = 0; layer < config.num_layers; ++layer)
    layers.emplace_back(config, layer, slots.layers[static_cast<size_t>(layer)], params);
  output = Linear<P>(params, {.weight = slots.embed_tokens}, 1, config.vocab_size, config.d_model);
}

// Layers share one set of activations unless a backward pass needs all of them; evaluation also runs the residual
// stream in place.
template <class P>
void Decoder<P>::State::plan(int64_t B, int64_t S, Keep keep) {
  if (B == planned_B && S == planned_S && keep == planned_keep) return;
  planned_B = B, planned_S = S, planned_keep = keep;
  const int64_t T = B * S, D = config.d_model, L = config.num_layers;
  const auto lay_out = [&] {
    stream.assign(static_cast<size_t>(2 * L + 1), {});
    Matrix<real> shared;
    if (keep != Keep::kAll) shared = arena.matrix<real>("stream.shared", T, D);
    for (int64_t i = 0; i <= 2 * L; ++i) {
      const bool own = keep == Keep::kAll || (keep == Keep::kLayerInputs && i % 2 == 0);
      stream[static_cast<size_t>(i)] = own ? arena.matrix<real>("stream", T, D) : shared;
    }
    acts.assign(static_cast<size_t>(keep == Keep::kAll ? L : 1), {});
    if (keep == Keep::kAll)
      for (int64_t layer = 0; layer < L; ++layer)
        acts[static_cast<size_t>(layer)].plan(arena, config, !config.is_moe_layer(layer), config.is_moe_layer(layer),
                                              T);
    else
      acts[0].plan(arena, config, config.num_moe_layers() < L, config.num_moe_layers() > 0, T);
    final_acts.plan(arena, T, D);
    scratch.plan(arena, scratch_spec(config), T, keep != Keep::kNothing);
    if (keep != Keep::kNothing) dx_TD = arena.matrix<real>("dx", T, D);
    nll_T = arena.span<real>("nll", T);
  };
  arena.restart();
  lay_out();
  arena.commit();
  lay_out();
}

// Ids are checked here, once; positions count real tokens (fairseq utils.py:239-249).
template <class P>
void Decoder<P>::State::read_batch(const Batch& batch) {
  const int64_t T = batch.tokens();
  if (batch.B < 1 || batch.S < 1 || static_cast<int64_t>(batch.src.size()) != T ||
      static_cast<int64_t>(batch.tgt.size()) != T)
    fail(ErrorCode::kUsage, "batch: expected B, S >= 1 and B*S ids in src and tgt, got B {}, S {}, {} and {} ids",
         batch.B, batch.S, batch.src.size(), batch.tgt.size());
  if (config.positions == Positions::kLearned && batch.S > config.context)
    fail(ErrorCode::kUsage, "batch: expected at most {} positions (model.context, learned), got {}", config.context,
         batch.S);
  positions_T.resize(T), targets_T.resize(T);
  bool has_pad = false;
  for (int64_t b = 0; b < batch.B; ++b) {
    int32_t position = kFirstPosition;
    for (int64_t t = b * batch.S; t < (b + 1) * batch.S; ++t) {
      const int32_t id = batch.src[t];
      if (id < 0 || id >= config.vocab_size)
        fail(ErrorCode::kData, "batch: token {} of sequence {}: expected an id in [0, {}), got {}", t - b * batch.S, b,
             config.vocab_size, id);
      if (batch.tgt[t] >= config.vocab_size)
        fail(ErrorCode::kData, "batch: target {} of sequence {}: expected an id < {}, got {}", t - b * batch.S, b,
             config.vocab_size, batch.tgt[t]);
      const bool pad = id == config.pad_id;
      has_pad |= pad;
      positions_T[t] = pad ? kPadPosition : position++;
      targets_T[t] = batch.tgt[t] < 0 || batch.tgt[t] == config.pad_id ? -1 : batch.tgt[t];
    }
  }
  valid_T.clear();
  if (has_pad) {
    valid_T.resize(T);
    std::transform(batch.src.begin(), batch.src.end(), valid_T.begin(),
                   [&](int32_t id) { return static_cast<uint8_t>(id != config.pad_id); });
  }
  shape = {batch.B, batch.S, valid_T};
  stats.clear();
}

template <class P>
Matrix<const typename P::real> Decoder<P>::State::position_table(int64_t rows) {
  if (config.positions == Positions::kLearned)
    return {params->at(slots.embed_positions).data(), config.context + 2, config.d_model};
  if (rows > num_sinusoids) {
    num_sinusoids = std::max(rows, config.context + kFirstPosition);
    Buffer<float> table(num_sinusoids * config.d_model);
    sinusoidal_positions({table.data(), num_sinusoids, config.d_model});
    sinusoids = Buffer<real>(table.size());
    std::copy(table.begin(), table.end(), sinusoids.begin());
  }
  return {sinusoids.data(), num_sinusoids, config.d_model};
}

template <class P>
Decoder<P>::Decoder(const ModelConfig& config, const ParameterStore<real>& params, DecoderOptions options)
    : state_(std::make_unique<State>(config, params, options)) {}

template <class P>
Decoder<P>::~Decoder() = default;

template <class P>
const ModelConfig& Decoder<P>::config() const {
  return state_->config;
}

template <class P>
std::span<const RouterStats> Decoder<P>::router_stats() const {
  return state_->stats;
}

template <class P>
const Arena& Decoder<P>::arena() const {
  return state_->arena;
}

template <class P>
Matrix<const typename P::real> Decoder<P>::residual(int64_t index) const {
  return state_->stream[static_cast<size_t>(2 * index)];
}

namespace {

// One micro-batch on its way through the model.
template <class P>
struct Walk {
  using real = typename P::real;

  typename Decoder<P>::State& s;
  RunMode mode;

  Pass<P> pass() const { return {.shape = s.shape, .mode = mode, .scratch = s.scratch}; }
  double embedding_scale() const {
    return s.config.scale_embedding ? std::sqrt(static_cast<double>(s.config.d_model)) : 1.0;
  }
  Dropout embedding_dropout() const {
    return mode.dropout(s.config.dropout, kEmbeddingLayer, RunMode::kEmbedding, mode.first_token);
  }

  void embed(const Batch& batch) const {
    embedding_forward<P>(batch.src, s.positions_T, s.embedding(), s.position_table(s.shape.S + kFirstPosition),
                         embedding_scale(), embedding_dropout(), s.stream[0]);
  }

  void layer_forward(int64_t l, const Pass<P>& pass) const {
    const DecoderLayer<P>& layer = s.layers[static_cast<size_t>(l)];
    auto& acts = s.layer_acts(l);
    const Matrix<real> x = s.stream[2 * l], mid = s.stream[2 * l + 1], out = s.stream[2 * l + 2];
    layer.attention.forward(pass, x, acts.attention, mid);
    std::visit([&](const auto& block) { block.forward(pass, mid, acts.of(block), out); }, layer.feed_forward);
  }

  void forward(const Batch& batch) const {
    embed(batch);
    Pass<P> reporting = pass();
    reporting.reports = &s.stats;
    for (int64_t l = 0; l < s.config.num_layers; ++l) layer_forward(l, reporting);
    s.final_norm.forward(s.stream.back(), s.final_acts);
  }

  void layer_backward(int64_t l, const Pass<P>& pass, ParameterStore<real>& grads) const {
    const DecoderLayer<P>& layer = s.layers[static_cast<size_t>(l)];
    auto& acts = s.layer_acts(l);
    const Matrix<real> x = s.stream[2 * l], mid = s.stream[2 * l + 1];
    std::visit([&](const auto& block) { block.backward(pass, mid, acts.of(block), s.dx_TD, grads); },
               layer.feed_forward);
    layer.attention.backward(pass, x, acts.attention, s.dx_TD, grads);
  }

  // From the gradient of the final norm's output, in scratch.dnorm_TD.
  void backward(const Batch& batch, std::span<const double> aux_scale, ParameterStore<real>& grads) const {
    std::fill_n(s.dx_TD.data, s.dx_TD.rows * s.dx_TD.cols, real{0});
    s.final_norm.backward(s.stream.back(), s.final_acts, s.scratch.dnorm_TD, s.dx_TD, grads);
    Pass<P> with_aux = pass();
    with_aux.aux_scale = aux_scale;
    for (int64_t l = s.config.num_layers - 1; l >= 0; --l) {
      // Again up to what the backward pass reads; the layer's output, the next one's input, is only rewritten.
      if (s.planned_keep == Keep::kLayerInputs) layer_forward(l, with_aux);
      layer_backward(l, with_aux, grads);
    }
    embedding_backward<P>(batch.src, s.positions_T, s.config.pad_id, embedding_scale(), embedding_dropout(), s.dx_TD,
                          rows_of(grads.at(s.slots.embed_tokens)), rows_of(grads.at(s.slots.embed_positions)));
  }

  // Rows of width D; none if nothing is held.
  Matrix<real> rows_of(std::span<real> values) const {
    const int64_t D = s.config.d_model;
    return {values.empty() ? nullptr : values.data(), static_cast<int64_t>(values.size()) / D, D};
  }

  // Scored targets of each routing group.
  std::vector<double> group_tokens() const {
    const int64_t size = routing_group_tokens(s.config.moe, s.shape), T = s.shape.tokens();
    std::vector<double> counts(static_cast<size_t>((T + size - 1) / size), 0.0);
    for (int64_t t = 0; t < T; ++t) counts[static_cast<size_t>(t / size)] += s.targets_T[t] >= 0;
    return counts;
  }

  // Balance losses are per token: weight * tokens * (sum or mean over layers), group by group.
  double aux_layer_scale() const {
    return s.config.moe.aux_combine == AuxCombine::kAverage && !s.stats.empty()
               ? 1.0 / static_cast<double>(s.stats.size())
               : 1.0;
  }

  LossSum sums(std::span<const real> nll) const {
    LossSum loss;
    loss.nll = sum_in_order(nll);
    loss.tokens = std::count_if(s.targets_T.begin(), s.targets_T.end(), [](int32_t id) { return id >= 0; });
    const std::vector<double> tokens = s.stats.empty() ? std::vector<double>() : group_tokens();
    for (const RouterStats& stats : s.stats) {
      for (size_t g = 0; g < tokens.size(); ++g) loss.aux += aux_layer_scale() * tokens[g] * stats.aux_by_group[g];
      loss.choices += std::accumulate(stats.load_E.begin(), stats.load_E.end(), int64_t{0});
      loss.dropped += std::accumulate(stats.dropped_K.begin(), stats.dropped_K.end(), int64_t{0});
    }
    loss.total = loss.nll + s.config.moe.aux_loss_weight * loss.aux;
    return loss;
  }

  std::vector<double> aux_scale() const {
    if (s.stats.empty()) return {};
    std::vector<double> scale = group_tokens();
    for (double& value : scale) value *= s.config.moe.aux_loss_weight * aux_layer_scale();
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
  s.plan(batch.B, batch.S, s.options.recompute ? Keep::kLayerInputs : Keep::kAll);
  const Walk<P> walk{s, mode_for(batch, mode, true)};
  walk.forward(batch);
  output_loss_with_gradient<P>(s.output.bank(), s.final_acts.y_TD, s.targets_T, s.nll_T, s.scratch.dnorm_TD,
                               walk.rows_of(grads.at(s.slots.embed_tokens)).data);
  walk.backward(batch, walk.aux_scale(), grads);
  return walk.sums(s.nll_T);
}

template <class P>
LossSum Decoder<P>::score(const Batch& batch, const RunMode& mode, std::span<real> nll_T, std::span<int32_t> argmax_T) {
  State& s = *state_;
  s.read_batch(batch);
  s.plan(batch.B, batch.S, Keep::kNothing);
  const Walk<P> walk{s, mode_for(batch, mode, false)};
  walk.forward(batch);
  const std::span<real> nll = nll_T.empty() ? s.nll_T : nll_T;
  output_loss<P>(s.output.bank(), s.final_acts.y_TD, s.targets_T, nll, argmax_T);
  return walk.sums(nll);
}

template class Decoder<F64>;
template class Decoder<F32>;
template class Decoder<Bf16>;

}  // namespace troupe
