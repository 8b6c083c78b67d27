#include "model/workspace.h"

#include <algorithm>

#include "ops/embedding.h"
#include "ops/rotary.h"

namespace troupe {
namespace {

template <class P>
void plan_layer(Arena& arena, const ModelConfig& config, bool dense, bool sparse, int64_t T,
                LayerActivations<P>& acts) {
  acts.attention.plan(arena, attention_spec(config, 0), T);
  if (dense) acts.ffn.plan(arena, ffn_spec(config, 0), T);
  if (sparse) acts.moe.plan(arena, moe_spec(config, 0), T);
}

ScratchSpec scratch_spec(const ModelConfig& config) {
  ScratchSpec spec{.d_model = config.d_model,
                   .query_width = config.query_width(),
                   .kv_width = config.kv_width(),
                   .norm_after = config.norm_place == NormPlace::kAfter,
                   .parallel = config.parallel_block};
  if (config.num_moe_layers() < config.num_layers) spec.ffn_width = ffn_spec(config, 0).mlp.work_width();
  if (config.num_moe_layers() > 0) {
    spec.routing = config.moe;
    spec.expert_width = moe_spec(config, 0).mlp.work_width();
    spec.shared_width = moe_spec(config, 0).shared.work_width();
  }
  return spec;
}

}  // namespace

template <class P>
void Workspace<P>::lay_out(const ModelConfig& config, int64_t T, Keep keep) {
  const int64_t D = config.d_model, L = config.num_layers;
  ids_T = arena_.span<int32_t>("batch.ids", T);
  positions_T = arena_.span<int32_t>("batch.positions", T);
  targets_T = arena_.span<int32_t>("batch.targets", T);
  valid_T = arena_.span<uint8_t>("batch.valid", T);
  key_end_T = arena_.span<int32_t>("batch.key_end", T);
  stream.assign(static_cast<size_t>(2 * L + 1), {});
  Matrix<real> shared, beside;  // parallel blocks read a layer's input after attention was added to it
  if (keep != Keep::kAll) beside = shared = arena_.matrix<real>("stream.shared", T, D);
  if (keep == Keep::kNothing && config.parallel_block) beside = arena_.matrix<real>("stream.beside", T, D);
  for (int64_t i = 0; i <= 2 * L; ++i) {
    const bool own = keep == Keep::kAll || (keep == Keep::kLayerInputs && i % 2 == 0);
    stream[static_cast<size_t>(i)] = own ? arena_.matrix<real>("stream", T, D) : i % 2 == 0 ? shared : beside;
  }
  layers_.assign(static_cast<size_t>(keep == Keep::kAll ? L : 1), {});
  if (keep == Keep::kAll)
    for (int64_t layer = 0; layer < L; ++layer)
      plan_layer<P>(arena_, config, !config.is_moe_layer(layer), config.is_moe_layer(layer), T,
                    layers_[static_cast<size_t>(layer)]);
  else
    plan_layer<P>(arena_, config, config.num_moe_layers() < L, config.num_moe_layers() > 0, T, layers_[0]);
  final_norm.plan(arena_, norm_spec(config), T);
  scratch.plan(arena_, scratch_spec(config), T, keep != Keep::kNothing);
  if (keep != Keep::kNothing) dx_TD = arena_.matrix<real>("dx", T, D);
  nll_T = arena_.span<real>("nll", T);
  argmax_T = arena_.span<int32_t>("argmax", T);
}

template <class P>
int64_t Workspace<P>::bytes(const ModelConfig& config, int64_t T, Keep keep) {
  Workspace sizes;  // its arena only adds up
  sizes.lay_out(config, T, keep);
  return sizes.arena_.bytes();
}

template <class P>
void Workspace<P>::plan(const ModelConfig& config, int64_t B, int64_t S, Keep keep) {
  if (B == B_ && S == S_ && keep == keep_) return;
  B_ = B, S_ = S, keep_ = keep;
  arena_.restart();
  lay_out(config, B * S, keep);
  arena_.commit();
  lay_out(config, B * S, keep);
}

template <class P>
void Workspace<P>::poison() {
  arena_.poison();
  if (scratch.ranked) scratch.ranked->poison();
  for (LayerActivations<P>& layer : layers_)
    if (layer.moe.ranked) layer.moe.ranked->poison();
}

template <class P>
Matrix<const typename P::real> Workspace<P>::positions(const DecoderWeights<P>& weights, int64_t rows) {
  const ModelConfig& config = weights.config;
  const int64_t D = config.d_model, usual = num_position_rows(config);
  if (config.positions == Positions::kRotary) return {};
  if (config.positions == Positions::kLearned)
    return {weights.params->at(weights.slots.embed_positions).data(), usual, D};
  if (rows > num_sinusoids_) {
    num_sinusoids_ = std::max(rows, usual);
    sinusoids_.reserve(num_sinusoids_ * D);
    run(SinusoidalPositions<real>{{sinusoids_.data(), num_sinusoids_, D}});
  }
  return {sinusoids_.data(), num_sinusoids_, D};
}

template <class P>
Matrix<const typename P::real> Workspace<P>::rotary(const DecoderWeights<P>& weights, int64_t rows) {
  const ModelConfig& config = weights.config;
  const int64_t R = config.rotary_width();
  if (R == 0) return {};
  const int64_t wanted = std::max({rows, num_turns_, num_position_rows(config)});
  const int64_t length = config.rope.scaling == RopeScaling::kDynamic ? rows - kFirstPosition : 0;
  if (wanted > num_turns_ || length != turns_length_) {
    num_turns_ = wanted, turns_length_ = length;
    turns_.reserve(num_turns_ * R);
    const RotaryFrequencies frequencies = rotary_frequencies(config.rope, R, config.context, length);
    run(RotaryTable<real>{.frequencies = frequencies.w,
                          .factor = frequencies.factor,
                          .first = -kFirstPosition,
                          .table_PR = {turns_.data(), num_turns_, R}});
  }
  return {turns_.data(), num_turns_, R};
}

template class Workspace<F64>;
template class Workspace<F32>;
template class Workspace<Bf16>;

}  // namespace troupe
