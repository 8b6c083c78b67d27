#include "train/optimizer.h"

#include <vector>

#include "ops/adam.h"

namespace troupe {
namespace {

// Parameters that decay alike and lie alike in both stores: one stream of memory, so that long stretches are one call.
struct Stretch {
  Slot slot;
  bool decays = true;
};

std::vector<Stretch> stretches(const ParameterStore<float>& params, const ParameterStore<float>& held) {
  std::vector<Stretch> all;
  for (const ParameterFamily& family : held.table().families()) {
    const auto& [begin, end] = family.pattern.slot;
    for (int64_t i = begin; i < end; ++i) {
      if (held.at({i, i + 1}).empty()) continue;
      Stretch* const last = all.empty() ? nullptr : &all.back();
      if (last && last->slot.end == i && last->decays == family.pattern.decays &&
          params.at({last->slot.begin, i + 1}).size() == held.at({last->slot.begin, i + 1}).size())
        last->slot.end = i + 1;
      else
        all.push_back({{i, i + 1}, family.pattern.decays});
    }
  }
  return all;
}

}  // namespace

AdamOptimizer::AdamOptimizer(const ParameterTable& table, const AdamConfig& config, const Selection& trained,
                             Memory& memory)
    : config_(config), m_(table, trained, memory), v_(table, trained, memory) {}

void AdamOptimizer::update(ParameterStore<float>& params, const ParameterStore<float>& grads, double lr,
                           double grad_scale) {
  AdamStep step{.lr = lr,
                .beta1 = config_.beta1,
                .beta2 = config_.beta2,
                .eps = config_.eps,
                .weight_decay = 0.0,
                .t = ++updates_,
                .form = config_.form};
  for (const auto& [slot, decays] : stretches(params, m_)) {
    step.weight_decay = decays ? config_.weight_decay : 0.0;
    run(AdamUpdate<float>{.p = params.at(slot),
                          .g = grads.at(slot),
                          .m = m_.at(slot),
                          .v = v_.at(slot),
                          .step = step,
                          .grad_scale = grad_scale});
  }
}

}  // namespace troupe
