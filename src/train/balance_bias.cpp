#include "train/balance_bias.h"

#include <fmt/format.h>

#include <numeric>
#include <utility>
#include <vector>

#include "ops/transfer.h"

namespace troupe {

void update_balance_biases(ParameterStore<float>& params, std::span<const RouterStats> stats, double rate,
                           const Selection& trained) {
  if (rate == 0.0) return;
  for (const RouterStats& of_layer : stats) {
    const auto found = params.table().find_or_null(fmt::format("layers.{}.moe.router.bias", of_layer.layer));
    if (!found || (trained && !trained(*found))) continue;
    const std::vector<int64_t>& loads = of_layer.load_E;
    const auto experts = static_cast<int64_t>(loads.size());
    const int64_t sum = std::accumulate(loads.begin(), loads.end(), int64_t{0});
    std::vector<float> biases(loads.size());
    copy<float>(std::as_const(params).at(found->slot), biases);
    for (size_t e = 0; e < biases.size(); ++e) {
      const int64_t load = loads[e] * experts;  // compared with the sum in whole numbers
      biases[e] += static_cast<float>(load < sum ? rate : load > sum ? -rate : 0.0);
    }
    copy<float>(biases, params.at(found->slot));
  }
}

}  // namespace troupe
