#include "ops/route/losses.h"

#include <algorithm>
#include <array>

#include "kernels/ref/route_losses.h"
#include "kernels/route_losses.h"
#include "ops/cuda/row.h"

namespace troupe {
namespace {

template <class real>
constexpr std::array<RouterLoss<real>, 2> kRouterLosses = {{
    // Only tokens that choose by a router can be taught to: a hash is as even as it is, experts that choose are even.
    {kBalanceLoss,
     [](const MoeConfig& config) { return config.router == RouterKind::kTopK ? config.aux_loss_weight : 0.0; },
     [](const RouteRequest& request, Matrix<const real>, const Routing<real>& routing, std::span<double> loss_G,
        Later<std::vector<double>>& later) {
       if (request.config.router == RouterKind::kExpertChoice)
         std::fill(loss_G.begin(), loss_G.end(), 1.0);
       else
         run(BalanceLoss<real>{request, routing, loss_G, &later});
     },
     [](const RouteRequest& request, const Routing<real>& routing, std::span<const double> scale_G,
        Matrix<real> dprob_GE) {
       if (request.config.router == RouterKind::kTopK)
         run(BalanceLossBackward<real>{request, routing, scale_G, dprob_GE});
     },
     nullptr},
    // Without a weight nothing is kept for it, and it reports 0.
    {kRouterZLoss, [](const MoeConfig& config) { return config.router_z_loss; },
     [](const RouteRequest& request, Matrix<const real> logits_TE, const Routing<real>& routing,
        std::span<double> loss_G, Later<std::vector<double>>& later) {
       if (request.config.router_z_loss > 0.0)
         run(RouterZLoss<real>{request, logits_TE, routing, loss_G, &later});
       else
         std::fill(loss_G.begin(), loss_G.end(), 0.0);
     },
     nullptr,
     [](const RouteRequest& request, const Routing<real>& routing, std::span<const double> scale_G,
        Matrix<real> dlogits_TE) {
       if (request.config.router_z_loss > 0.0)
         run(RouterZLossBackward<real>{request, routing, scale_G, dlogits_TE});
     }},
}};

}  // namespace

template <class Real>
Implementations<BalanceLoss<Real>> BalanceLoss<Real>::implementations() {
  static const auto list = with_cuda<troupe::BalanceLoss, Real>({
      {name_of_enum(Isa::kGeneric), [](const BalanceLoss& task, Context&) { host::balance_loss(task); }},
      {"ref", [](const BalanceLoss& task, Context&) { ref::balance_loss(task); }}});
  return list;
}

template <class Real>
Implementations<BalanceLossBackward<Real>> BalanceLossBackward<Real>::implementations() {
  static const auto list = with_cuda<troupe::BalanceLossBackward, Real>({
      {name_of_enum(Isa::kGeneric), [](const BalanceLossBackward& task, Context&) { host::balance_loss_backward(task); }},
      {"ref", [](const BalanceLossBackward& task, Context&) { ref::balance_loss_backward(task); }}});
  return list;
}

template <class Real>
Implementations<RouterZLoss<Real>> RouterZLoss<Real>::implementations() {
  static const auto list = with_cuda<troupe::RouterZLoss, Real>({
      {name_of_enum(Isa::kGeneric), [](const RouterZLoss& task, Context&) { host::router_z_loss(task); }},
      {"ref", [](const RouterZLoss& task, Context&) { ref::router_z_loss(task); }}});
  return list;
}

template <class Real>
Implementations<RouterZLossBackward<Real>> RouterZLossBackward<Real>::implementations() {
  static const auto list = with_cuda<troupe::RouterZLossBackward, Real>({
      {name_of_enum(Isa::kGeneric), [](const RouterZLossBackward& task, Context&) { host::router_z_loss_backward(task); }},
      {"ref", [](const RouterZLossBackward& task, Context&) { ref::router_z_loss_backward(task); }}});
  return list;
}

template <class real>
std::span<const RouterLoss<real>> router_losses() {
  return kRouterLosses<real>;
}

#define TROUPE_INSTANTIATE(real)             \
  template struct BalanceLoss<real>;         \
  template struct BalanceLossBackward<real>; \
  template struct RouterZLoss<real>;         \
  template struct RouterZLossBackward<real>; \
  template std::span<const RouterLoss<real>> router_losses();
TROUPE_INSTANTIATE(float)
TROUPE_INSTANTIATE(double)
#undef TROUPE_INSTANTIATE

}  // namespace troupe
