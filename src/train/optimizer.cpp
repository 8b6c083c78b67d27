#include "train/optimizer.h"

#include <vector>

#include "ops/adam.h"

namespace troupe {
namespace {

// What an update does to a parameter.
struct Treatment {
  double lr = 0.0, weight_decay = 0.0;
  bool operator==(const Treatment&) const = default;
};

// Parameters that are treated alike and lie alike in both stores: one stream of memory, so that long stretches are one
// call.
struct Stretch {
  Slot slot;
  Treatment treatment;
};

template <class TreatmentOf>
std::vector<Stretch> stretches(const ParameterStore<float>& params, const ParameterStore<float>& held,
                               const TreatmentOf& treatment_of) {
  std::vector<Stretch> all;
  for (const ParameterFamily& family : held.table().families()) {
    const auto& [begin, end] = family.pattern.slot;
    const Treatment treatment = treatment_of(family.pattern);
    for (int64_t i = begin; i < end; ++i) {
      if (held.at({i, i + 1}).empty()) continue;
      Stretch* const last = all.empty() ? nullptr : &all.back();
      if (last && last->slot.end == i && last->treatment == treatment &&
          params.at({last->slot.begin, i + 1}).size() == held.at({last->slot.begin, i + 1}).size())
        last->slot.end = i + 1;
      else
        all.push_back({{i, i + 1}, treatment});
    }
  }
  return all;
}

bool decays(const Parameter& parameter, WeightDecayOf of) {
  return parameter.decays && (of == WeightDecayOf::kAll || group_of(parameter) == ParameterGroup::kMatrices);
}

}  // namespace

AdamOptimizer::AdamOptimizer(const ParameterTable& table, const AdamConfig& config, const Selection& trained,
                             Memory& memory)
    : config_(config), m_(table, trained, memory), v_(table, trained, memory) {}

void AdamOptimizer::update(ParameterStore<float>& params, const ParameterStore<float>& grads,
                           const GroupRates& rates, double grad_scale) {
  AdamStep step{.lr = 0.0,
                .beta1 = config_.beta1,
                .beta2 = config_.beta2,
                .eps = config_.eps,
                .weight_decay = 0.0,
                .t = ++updates_,
                .form = config_.form};
  const auto treatment_of = [&](const Parameter& parameter) {
    return Treatment{.lr = rates.of(group_of(parameter)),
                     .weight_decay = decays(parameter, config_.weight_decay_of) ? config_.weight_decay : 0.0};
  };
  for (const auto& [slot, treatment] : stretches(params, m_, treatment_of)) {
    step.lr = treatment.lr, step.weight_decay = treatment.weight_decay;
    run(AdamUpdate<float>{.p = params.at(slot),
                          .g = grads.at(slot),
                          .m = m_.at(slot),
                          .v = v_.at(slot),
                          .step = step,
                          .grad_scale = grad_scale});
  }
}

}  // namespace troupe
