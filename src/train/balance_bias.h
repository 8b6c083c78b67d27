// Balancing without a loss (DeepSeek-V3, arXiv:2412.19437, section 2.1.2, after Wang et al. 2024, arXiv:2408.15664): an
// expert's bias, which choices see and weights do not, moves by `rate` after every update, up if the expert got fewer
// choices in it than the mean, down if it got more.
#pragma once

#include <span>

#include "nn/parameters.h"
#include "ops/route/router_stats.h"

namespace troupe {

// `stats` count the choices of the whole update, by MoE layer, before dropping. Layers without biases, and those whose
// biases `trained` (empty: all) does not take, stay.
void update_balance_biases(ParameterStore<float>& params, std::span<const RouterStats> stats, double rate,
                           const Selection& trained = {});

}  // namespace troupe
