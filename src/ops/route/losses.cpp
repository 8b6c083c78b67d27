#include "ops/route/losses.h"

#include <array>
#include <vector>

namespace troupe {
namespace {

template <class real>
std::vector<int64_t> first_choices(const LossGroup<real>& group) {
  std::vector<int64_t> count_E(static_cast<size_t>(group.prob_SE.cols), 0);
  for (int64_t s = 0; s < group.prob_SE.rows; ++s)
    if (const int32_t first = group.expert_SK[s * group.K]; first >= 0) ++count_E[static_cast<size_t>(first)];
  return count_E;
}

template <class real>
double balance(const LossGroup<real>& group) {
  const auto S = static_cast<double>(group.prob_SE.rows), E = static_cast<double>(group.prob_SE.cols);
  const std::vector<int64_t> first_E = first_choices(group);
  std::vector<double> mean_E(first_E.size(), 0.0);
  for (int64_t s = 0; s < group.prob_SE.rows; ++s)
    for (size_t e = 0; e < mean_E.size(); ++e) mean_E[e] += static_cast<double>(group.prob_SE.row(s)[e]);
  double sum = 0.0;
  for (size_t e = 0; e < mean_E.size(); ++e) sum += mean_E[e] / S * (static_cast<double>(first_E[e]) / S);
  return E * sum;
}

// d/d(prob_se) = E ce_e / S.
template <class real>
void add_balance_gradient(const LossGroup<real>& group, double scale, std::span<real> dprob_E) {
  const auto S = static_cast<double>(group.prob_SE.rows), E = static_cast<double>(group.prob_SE.cols);
  const std::vector<int64_t> first_E = first_choices(group);
  for (size_t e = 0; e < first_E.size(); ++e)
    dprob_E[e] += static_cast<real>(scale * E * (static_cast<double>(first_E[e]) / S) / S);
}

template <class real>
constexpr std::array<RouterLoss<real>, 1> kRouterLosses = {{
    {kBalanceLoss, [](const MoeConfig& config) { return config.aux_loss_weight; }, balance<real>,
     add_balance_gradient<real>},
}};

}  // namespace

template <class real>
std::span<const RouterLoss<real>> router_losses() {
  return kRouterLosses<real>;
}
template std::span<const RouterLoss<float>> router_losses();
template std::span<const RouterLoss<double>> router_losses();

}  // namespace troupe
