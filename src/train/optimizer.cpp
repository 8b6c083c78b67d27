#include "train/optimizer.h"

#include <vector>

#include "base/rng.h"
#include "ops/adam.h"
#include "ops/transfer.h"

namespace troupe {
namespace {

Selection moved_by_adam(const Selection& trained, const OptimizerConfig& config) {
  if (config.matrices == MatrixOptimizer::kAdam) return trained;
  return [trained, config](const Parameter& parameter) {
    return (!trained || trained(parameter)) && !moved_by_muon(parameter, config);
  };
}

Selection moved_by_muon_of(const Selection& trained, const OptimizerConfig& config) {
  return [trained, config](const Parameter& parameter) {
    return (!trained || trained(parameter)) && moved_by_muon(parameter, config);
  };
}

// `selected`, or nothing.
Selection only_if(bool holds, Selection selected) {
  return holds ? std::move(selected) : [](const Parameter&) { return false; };
}

bool is_bf16(const OptimizerOptions& options) { return options.optimizer.moments == Precision::kBf16; }
Memory& home(const OptimizerOptions& options, Memory& memory) {
  return options.optimizer.offload ? host_memory() : memory;
}

constexpr uint64_t kChances = 0x6d6f6d656e7473;  // keeps them apart from other random numbers of a run

bool decays(const Parameter& parameter, WeightDecayOf of) {
  return parameter.decays && (of == WeightDecayOf::kAll || group_of(parameter) == ParameterGroup::kMatrices);
}

}  // namespace

Optimizer::Optimizer(const ParameterTable& table, const OptimizerOptions& options, const Selection& trained,
                     Memory& memory)
    : options_(options),
      passes_(options.optimizer.offload && memory.device() != Device::kCpu),
      m_(table, is_bf16(options) ? moved_by_muon_of(trained, options.optimizer) : trained, home(options, memory)),
      v_(table, only_if(!is_bf16(options), moved_by_adam(trained, options.optimizer)), home(options, memory)),
      m_bf16_(table, only_if(is_bf16(options), moved_by_adam(trained, options.optimizer)), home(options, memory)),
      v_bf16_(table, only_if(is_bf16(options), moved_by_adam(trained, options.optimizer)), home(options, memory)),
      room_{Buffer<float>(memory), Buffer<float>(memory)},
      room_bf16_{Buffer<bf16>(memory), Buffer<bf16>(memory)} {
  if (options.precision == Precision::kBf16)
    workspace_.emplace<MuonWorkspace<Bf16>>(memory);
  else
    workspace_.emplace<MuonWorkspace<F32>>(memory);
}

Optimizer::Treatment Optimizer::treatment_of(const Parameter& parameter, const GroupRates& rates) const {
  const double lr = rates.of(group_of(parameter));
  if (moved_by_muon(parameter, options_.optimizer))
    return {.lr = lr,
            .weight_decay = parameter.decays ? options_.muon.weight_decay : 0.0,
            .rows = parameter.shape[0] / parameter.stacked,
            .cols = parameter.shape[1],
            .stacked = parameter.stacked};
  return {.lr = lr,
          .weight_decay = decays(parameter, options_.adam.weight_decay_of) ? options_.adam.weight_decay : 0.0};
}

std::vector<Optimizer::Stretch> Optimizer::stretches(const ParameterStore<float>& params,
                                                     const ParameterStore<float>& grads, const GroupRates& rates,
                                                     std::optional<int64_t> layer) const {
  std::vector<Stretch> all;
  for (const ParameterFamily& family : m_.table().families()) {
    if (layer && family.pattern.layer != *layer) continue;
    const auto& [begin, end] = family.pattern.slot;
    const Treatment treatment = treatment_of(family.pattern, rates);
    for (int64_t i = begin; i < end; ++i) {
      const bool rounded = in_bf16({i, i + 1});
      if (!rounded && m_.at({i, i + 1}).empty()) continue;
      const bool may_go_on = !all.empty() && (!rounded || all.back().family == begin);
      if (may_go_on && all.back().treatment == treatment && continues(all.back(), i, params, grads))
        all.back().slot.end = i + 1;
      else
        all.push_back({{i, i + 1}, treatment, begin, (i - begin) * family.pattern.size()});
    }
  }
  return all;
}

// Whether the parameter `next` lies behind the stretch in all stores alike; matrices without a gap.
bool Optimizer::continues(const Stretch& stretch, int64_t next, const ParameterStore<float>& params,
                          const ParameterStore<float>& grads) const {
  if (stretch.slot.end != next) return false;
  const Slot both{stretch.slot.begin, next + 1};
  const size_t size = params.at(both).size();
  const auto holds_it = [&](const auto&... stores) { return ((stores.at(both).size() == size) && ...); };
  if (!holds_it(grads)) return false;
  const Treatment& matrix = stretch.treatment;
  if (!matrix.by_muon()) return in_bf16(stretch.slot) ? holds_it(m_bf16_, v_bf16_) : holds_it(m_, v_);
  return holds_it(m_) &&
         size == static_cast<size_t>((both.end - both.begin) * matrix.stacked * matrix.rows * matrix.cols);
}

// update(begin, m, v) for parts of two moments, where ops may write them.
template <class T, class Update>
void Optimizer::in_parts(std::span<T> m, std::span<T> v, Room<T>& room, const Update& update) {
  if (!passes_) return update(size_t{0}, m, v);
  for (size_t begin = 0; begin < m.size(); begin += size_t{kMomentsAtATime}) {
    const size_t count = std::min(m.size() - begin, size_t{kMomentsAtATime});
    const std::span<T> part_m = m.subspan(begin, count), part_v = v.subspan(begin, count);
    room.m.reserve(static_cast<int64_t>(count)), room.v.reserve(static_cast<int64_t>(count));
    const std::span<T> here_m = room.m.span().first(count), here_v = room.v.span().first(count);
    copy<T>(part_m, here_m), copy<T>(part_v, here_v);
    update(begin, here_m, here_v);
    copy<T>(here_m, part_m), copy<T>(here_v, part_v);
  }
}

void Optimizer::run_adam(const Stretch& stretch, ParameterStore<float>& params, const ParameterStore<float>& grads,
                         double grad_scale) {
  const AdamConfig& adam = options_.adam;
  const Slot slot = stretch.slot;
  const AdamStep step{.lr = stretch.treatment.lr,
                      .beta1 = adam.beta1,
                      .beta2 = adam.beta2,
                      .eps = adam.eps,
                      .weight_decay = stretch.treatment.weight_decay,
                      .t = updates_,
                      .form = adam.form};
  const std::span<float> p = params.at(slot);
  const std::span<const float> g = grads.at(slot);
  if (in_bf16(slot)) {
    const uint64_t key = mix_key(mix_key(mix_key(options_.seed, kChances), static_cast<uint64_t>(updates_)),
                                 static_cast<uint64_t>(stretch.family));
    in_parts<bf16>(m_bf16_.at(slot), v_bf16_.at(slot), room_bf16_, [&](size_t begin, auto m, auto v) {
      run(AdamUpdateBf16<float>{p.subspan(begin, m.size()), g.subspan(begin, m.size()), m, v, step, grad_scale, key,
                                stretch.first + static_cast<int64_t>(begin)});
    });
  } else {
    in_parts<float>(m_.at(slot), v_.at(slot), room_, [&](size_t begin, auto m, auto v) {
      run(AdamUpdate<float>{p.subspan(begin, m.size()), g.subspan(begin, m.size()), m, v, step, grad_scale});
    });
  }
}

template <class P>
void Optimizer::run_muon(MuonWorkspace<P>& workspace, const Stretch& stretch, ParameterStore<float>& params,
                         const ParameterStore<float>& grads, double grad_scale) {
  const auto& [lr, weight_decay, rows, cols, stacked] = stretch.treatment;
  const MuonConfig& muon = options_.muon;
  for (int64_t begin = stretch.slot.begin, end; begin < stretch.slot.end; begin = end) {
    end = std::min(stretch.slot.end, begin + std::max<int64_t>(1, muon_batch(rows, cols) / stacked));
    const Slot slot{begin, end};
    const std::span<float> momentum = m_.at(slot);
    std::span<float> m = momentum;
    if (passes_) {
      room_.m.reserve(static_cast<int64_t>(momentum.size()));
      copy<float>(momentum, m = room_.m.span().first(momentum.size()));
    }
    run(MuonUpdate<P>{.count = (end - begin) * stacked,
                      .rows = rows,
                      .cols = cols,
                      .p = params.at(slot),
                      .g = grads.at(slot),
                      .m = m,
                      .step = {.lr = lr,
                               .momentum = muon.momentum,
                               .weight_decay = weight_decay,
                               .nesterov = muon.nesterov,
                               .iterations = muon.iterations},
                      .grad_scale = grad_scale,
                      .workspace = &workspace});
    if (passes_) copy<float>(m, momentum);
  }
}

// Of one layer, or of all.
void Optimizer::update_some(std::optional<int64_t> layer, ParameterStore<float>& params,
                            const ParameterStore<float>& grads, const GroupRates& rates, double grad_scale) {
  for (const Stretch& stretch : stretches(params, grads, rates, layer)) {
    if (stretch.treatment.by_muon())
      std::visit([&](auto& workspace) { run_muon(workspace, stretch, params, grads, grad_scale); }, workspace_);
    else
      run_adam(stretch, params, grads, grad_scale);
  }
}

void Optimizer::update(ParameterStore<float>& params, const ParameterStore<float>& grads, const GroupRates& rates,
                       double grad_scale) {
  begin_update();
  update_some(std::nullopt, params, grads, rates, grad_scale);
}

void Optimizer::update_layer(int64_t layer, ParameterStore<float>& params, const ParameterStore<float>& grads,
                             const GroupRates& rates, double grad_scale) {
  update_some(layer, params, grads, rates, grad_scale);
}

}  // namespace troupe
