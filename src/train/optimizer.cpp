#include "train/optimizer.h"

#include <vector>

#include "ops/adam.h"

namespace troupe {
namespace {

Selection moved_by_adam(const Selection& trained, const OptimizerConfig& config) {
  if (config.matrices == MatrixOptimizer::kAdam) return trained;
  return [trained, config](const Parameter& parameter) {
    return (!trained || trained(parameter)) && !moved_by_muon(parameter, config);
  };
}

bool decays(const Parameter& parameter, WeightDecayOf of) {
  return parameter.decays && (of == WeightDecayOf::kAll || group_of(parameter) == ParameterGroup::kMatrices);
}

}  // namespace

Optimizer::Optimizer(const ParameterTable& table, const OptimizerOptions& options, const Selection& trained,
                     Memory& memory)
    : options_(options), m_(table, trained, memory), v_(table, moved_by_adam(trained, options.optimizer), memory) {
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
                                                     const ParameterStore<float>& grads,
                                                     const GroupRates& rates) const {
  std::vector<Stretch> all;
  for (const ParameterFamily& family : m_.table().families()) {
    const auto& [begin, end] = family.pattern.slot;
    const Treatment treatment = treatment_of(family.pattern, rates);
    for (int64_t i = begin; i < end; ++i) {
      if (m_.at({i, i + 1}).empty()) continue;
      if (!all.empty() && all.back().treatment == treatment && continues(all.back(), i, params, grads))
        all.back().slot.end = i + 1;
      else
        all.push_back({{i, i + 1}, treatment});
    }
  }
  return all;
}

// Whether the parameter `next` lies behind the stretch in all stores alike; matrices without a gap.
bool Optimizer::continues(const Stretch& stretch, int64_t next, const ParameterStore<float>& params,
                          const ParameterStore<float>& grads) const {
  if (stretch.slot.end != next) return false;
  const Slot both{stretch.slot.begin, next + 1};
  const size_t size = m_.at(both).size();
  if (params.at(both).size() != size || grads.at(both).size() != size) return false;
  const Treatment& matrix = stretch.treatment;
  if (!matrix.by_muon()) return v_.at(both).size() == size;
  return size == static_cast<size_t>((both.end - both.begin) * matrix.stacked * matrix.rows * matrix.cols);
}

void Optimizer::run_adam(const Stretch& stretch, ParameterStore<float>& params, const ParameterStore<float>& grads,
                         double grad_scale) {
  const AdamConfig& adam = options_.adam;
  const Slot slot = stretch.slot;
  run(AdamUpdate<float>{.p = params.at(slot),
                        .g = grads.at(slot),
                        .m = m_.at(slot),
                        .v = v_.at(slot),
                        .step = {.lr = stretch.treatment.lr,
                                 .beta1 = adam.beta1,
                                 .beta2 = adam.beta2,
                                 .eps = adam.eps,
                                 .weight_decay = stretch.treatment.weight_decay,
                                 .t = updates_,
                                 .form = adam.form},
                        .grad_scale = grad_scale});
}

template <class P>
void Optimizer::run_muon(MuonWorkspace<P>& workspace, const Stretch& stretch, ParameterStore<float>& params,
                         const ParameterStore<float>& grads, double grad_scale) {
  const auto& [lr, weight_decay, rows, cols, stacked] = stretch.treatment;
  const MuonConfig& muon = options_.muon;
  for (int64_t begin = stretch.slot.begin, end; begin < stretch.slot.end; begin = end) {
    end = std::min(stretch.slot.end, begin + std::max<int64_t>(1, muon_batch(rows, cols) / stacked));
    const Slot slot{begin, end};
    run(MuonUpdate<P>{.count = (end - begin) * stacked,
                      .rows = rows,
                      .cols = cols,
                      .p = params.at(slot),
                      .g = grads.at(slot),
                      .m = m_.at(slot),
                      .step = {.lr = lr,
                               .momentum = muon.momentum,
                               .weight_decay = weight_decay,
                               .nesterov = muon.nesterov,
                               .iterations = muon.iterations},
                      .grad_scale = grad_scale,
                      .workspace = &workspace});
  }
}

void Optimizer::update(ParameterStore<float>& params, const ParameterStore<float>& grads, const GroupRates& rates,
                       double grad_scale) {
  ++updates_;
  for (const Stretch& stretch : stretches(params, grads, rates)) {
    if (stretch.treatment.by_muon())
      std::visit([&](auto& workspace) { run_muon(workspace, stretch, params, grads, grad_scale); }, workspace_);
    else
      run_adam(stretch, params, grads, grad_scale);
  }
}

}  // namespace troupe
