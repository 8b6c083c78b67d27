#include "train/optimizer.h"

#include "ops/adam.h"

namespace troupe {

AdamOptimizer::AdamOptimizer(const ParameterTable& table, const AdamConfig& config)
    : config_(config), m_(table), v_(table) {}

void AdamOptimizer::update(const ParameterStore<float>& params, const ParameterStore<float>& grads, double lr,
                           double grad_scale) {
  const AdamStep step{.lr = lr,
                      .beta1 = config_.beta1,
                      .beta2 = config_.beta2,
                      .eps = config_.eps,
                      .weight_decay = config_.weight_decay,
                      .t = ++updates_,
                      .form = config_.form};
  adam_update<float>(params.all(), grads.all(), m_.all(), v_.all(), step, grad_scale);
}

}  // namespace troupe
