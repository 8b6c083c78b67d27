#include "ops/route/route.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "kernels/ref/route.h"
#include "kernels/route.h"
#include "ops/cuda/row.h"
#include "ops/elementwise.h"
#include "ops/route/losses.h"
#include "ops/route/policy.h"

namespace troupe {

namespace {

// `task`, whose routing has nothing left of a device.
template <class Task>
const Task& on_host(const Task& task) {
  auto& rows = task.routing.rows;
  rows.routed_there = rows.all_kept = false, rows.offsets_later = {};
  return task;
}

}  // namespace

template <class Real>
Implementations<Route<Real>> Route<Real>::implementations() {
  static const auto list = with_cuda<troupe::Route, Real>({
      {name_of_enum(Isa::kGeneric), [](const Route& task, Context&) { host::route(on_host(task)); }},
      {"ref", [](const Route& task, Context&) { ref::route(on_host(task)); }}});
  return list;
}

template <class Real>
Implementations<RouteBackward<Real>> RouteBackward<Real>::implementations() {
  static const auto list = with_cuda<troupe::RouteBackward, Real>({
      {name_of_enum(Isa::kGeneric), [](const RouteBackward& task, Context&) { host::route_backward(task); }},
      {"ref", [](const RouteBackward& task, Context&) { ref::route_backward(task); }}});
  return list;
}

template <class real>
void Routing<real>::plan(Arena& arena, const MoeConfig& config, int64_t num_tokens) {
  T = num_tokens, E = config.num_experts, K = router_policy(config).num_choices(config);
  prob_TE = arena.matrix<real>("moe.prob", T, E);
  lse_T = config.router_z_loss > 0.0 ? arena.span<real>("moe.lse", T) : std::span<real>();
  choices.expert_TK = arena.span<int32_t>("moe.expert", T * K);
  choices.place_TK = arena.span<int32_t>("moe.place", T * K);
  choices.kept_TK = arena.span<uint8_t>("moe.kept", T * K);
  rows.plan(arena, T, E, router_policy(config).max_rows(config, T), K);
}

template <class real>
RouterStats route(const RouteRequest& request, Matrix<const real> logits_TE, Routing<real>& routing,
                  std::span<const real> bias_E) {
  RouterStats stats;
  run(Route<real>{request, logits_TE, routing, stats, bias_E});
  stats.loss_tokens = routing.T;
  const auto num_groups = static_cast<size_t>(request.groups.count(routing.T));
  std::vector<Later<std::vector<double>>> values;  // of each loss by group
  for (const RouterLoss<real>& loss : router_losses<real>()) {
    RouterStats::Loss& report = stats.losses.emplace_back();
    report.name = loss.name;
    report.by_group.resize(num_groups);
    loss.value(request, logits_TE, routing, report.by_group, values.emplace_back());
  }
  std::vector<double> tokens_of_group;
  for (int64_t g = 0; g < static_cast<int64_t>(num_groups); ++g)
    tokens_of_group.push_back(static_cast<double>(request.groups.end(g, routing.T) - request.groups.begin(g)));
  const bool is_here = !stats.rest && std::ranges::none_of(values, [](const auto& later) { return bool{later}; });
  stats.rest = [counts = std::exchange(stats.rest, {}), values, tokens_of_group, T = routing.T](RouterStats& of) {
    if (counts) counts(of);
    for (size_t i = 0; i < values.size(); ++i) {
      RouterStats::Loss& report = of.losses[i];
      if (values[i]) report.by_group = values[i]();
      for (size_t g = 0; g < tokens_of_group.size(); ++g)
        report.mean += report.by_group[g] * tokens_of_group[g] / static_cast<double>(T);
    }
  };
  if (is_here) stats.arrive();
  return stats;
}

template <class real>
void route_backward(const RouteRequest& request, const Routing<real>& routing, std::span<const real> dweight_R,
                    std::span<const double> loss_scale, Matrix<real> dlogits_TE) {
  const int64_t E = routing.E, num_groups = request.groups.count(routing.T);
  const Context::Lease lease(Context::of_this_thread(), num_groups * E * static_cast<int64_t>(sizeof(real)));
  const Matrix<real> dprob_GE(lease.as<real>(), num_groups, E);
  run(Fill<real>{.x = dprob_GE});
  const std::span<const RouterLoss<real>> losses = router_losses<real>();
  const auto groups = static_cast<size_t>(num_groups);
  const auto scale = [&](size_t i) { return loss_scale.subspan(i * groups, groups); };
  for (size_t i = 0; i < losses.size(); ++i)
    if (losses[i].add_gradient) losses[i].add_gradient(request, routing, scale(i), dprob_GE);
  run(RouteBackward<real>{request, routing, dweight_R, dprob_GE, dlogits_TE});
  for (size_t i = 0; i < losses.size(); ++i)
    if (losses[i].add_logit_gradient) losses[i].add_logit_gradient(request, routing, scale(i), dlogits_TE);
}

#define TROUPE_INSTANTIATE(real)                                                                              \
  template struct Route<real>;                                                                                \
  template struct RouteBackward<real>;                                                                        \
  template struct Routing<real>;                                                                              \
  template RouterStats route(const RouteRequest&, Matrix<const real>, Routing<real>&, std::span<const real>); \
  template void route_backward(const RouteRequest&, const Routing<real>&, std::span<const real>,              \
                               std::span<const double>, Matrix<real>);
TROUPE_INSTANTIATE(float)
TROUPE_INSTANTIATE(double)
#undef TROUPE_INSTANTIATE

}  // namespace troupe
