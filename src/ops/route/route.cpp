#include "ops/route/route.h"

#include <algorithm>
#include <array>
#include <vector>

#include "base/threads.h"
#include "ops/route/losses.h"
#include "ops/route/policy.h"
#include "ops/route/top_k.h"

namespace troupe {
namespace {

template <class real>
LossGroup<real> loss_group(const RouteTask& task, const Routing<real>& routing, int64_t g) {
  const int64_t begin = g * task.groups.size, S = std::min(task.groups.size, routing.T - begin), K = routing.K;
  return {routing.prob_TE.rows_from(begin, S),
          routing.choices.expert_TK.subspan(static_cast<size_t>(begin * K), static_cast<size_t>(S * K)), K};
}

}  // namespace

template <class real>
std::span<const RouterPolicy<real>> router_policies() {
  static const std::array policies = {top_k_policy<real>()};
  return policies;
}

template <class real>
const RouterPolicy<real>& router_policy(const MoeConfig&) {
  return router_policies<real>().front();
}

template <class real>
void Routing<real>::plan(Arena& arena, const MoeConfig& config, int64_t num_tokens) {
  T = num_tokens, E = config.num_experts, K = config.top_k;
  prob_TE = arena.matrix<real>("moe.prob", T, E);
  choices.expert_TK = arena.span<int32_t>("moe.expert", T * K);
  choices.place_TK = arena.span<int32_t>("moe.place", T * K);
  choices.kept_TK = arena.span<uint8_t>("moe.kept", T * K);
  rows.plan(arena, T, router_policy<real>(config).max_rows(config, T), K);
}

template <class real>
RouterStats route(const RouteTask& task, Matrix<const real> logits_TE, Routing<real>& routing) {
  RouterStats stats;
  stats.tokens = stats.loss_tokens = routing.T;
  router_policy<real>(task.config).select(task, logits_TE, routing, stats);
  const int64_t num_groups = task.groups.count(routing.T);
  for (const RouterLoss<real>& loss : router_losses<real>()) {
    RouterStats::Loss& report = stats.losses.emplace_back();
    report.name = loss.name;
    report.by_group.resize(static_cast<size_t>(num_groups));
    parallel_for(num_groups, [&](int64_t g) { report.by_group[g] = loss.value(loss_group(task, routing, g)); });
    for (int64_t g = 0; g < num_groups; ++g)
      report.mean += report.by_group[g] *
                     static_cast<double>(std::min(task.groups.size, routing.T - g * task.groups.size)) /
                     static_cast<double>(routing.T);
  }
  return stats;
}

template <class real>
void route_backward(const RouteTask& task, const Routing<real>& routing, std::span<const real> dweight_R,
                    std::span<const double> loss_scale, Matrix<real> dlogits_TE) {
  const int64_t E = routing.E, num_groups = task.groups.count(routing.T);
  std::vector<real> gradient(static_cast<size_t>(num_groups * E), real{0});
  const Matrix<real> dprob_GE(gradient.data(), num_groups, E);
  parallel_for(num_groups, [&](int64_t g) {
    const double* scale = loss_scale.data() + g;
    for (const RouterLoss<real>& loss : router_losses<real>()) {
      loss.add_gradient(loss_group(task, routing, g), *scale, {dprob_GE.row(g), static_cast<size_t>(E)});
      scale += num_groups;
    }
  });
  router_policy<real>(task.config).backward(task, routing, dweight_R, dprob_GE, dlogits_TE);
}

#define TROUPE_INSTANTIATE(real)                                                                                    \
  template std::span<const RouterPolicy<real>> router_policies();                                                   \
  template const RouterPolicy<real>& router_policy(const MoeConfig&);                                               \
  template struct Routing<real>;                                                                                    \
  template RouterStats route(const RouteTask&, Matrix<const real>, Routing<real>&);                                 \
  template void route_backward(const RouteTask&, const Routing<real>&, std::span<const real>,                       \
                               std::span<const double>, Matrix<real>);
TROUPE_INSTANTIATE(float)
TROUPE_INSTANTIATE(double)
#undef TROUPE_INSTANTIATE

}  // namespace troupe
