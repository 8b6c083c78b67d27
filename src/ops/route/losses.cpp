#include "ops/route/losses.h"

#include <array>

#include "kernels/ref/route.h"
#include "kernels/route.h"

namespace troupe {
namespace {

template <class real>
constexpr std::array<RouterLoss<real>, 1> kRouterLosses = {{
    {kBalanceLoss, [](const MoeConfig& config) { return config.aux_loss_weight; },
     [](const RouteRequest& request, const Routing<real>& routing, std::span<double> loss_G) {
       run(BalanceLoss<real>{request, routing, loss_G});
     },
     [](const RouteRequest& request, const Routing<real>& routing, std::span<const double> scale_G,
        Matrix<real> dprob_GE) { run(BalanceLossBackward<real>{request, routing, scale_G, dprob_GE}); }},
}};

}  // namespace

template <class Real>
Implementations<BalanceLoss<Real>> BalanceLoss<Real>::implementations() {
  static const std::vector<Implementation<BalanceLoss>> list = {
      {isa_name(Isa::kGeneric), [](const BalanceLoss& task, Context&) { host::balance_loss(task); }},
      {"ref", [](const BalanceLoss& task, Context&) { ref::balance_loss(task); }}};
  return list;
}

template <class Real>
Implementations<BalanceLossBackward<Real>> BalanceLossBackward<Real>::implementations() {
  static const std::vector<Implementation<BalanceLossBackward>> list = {
      {isa_name(Isa::kGeneric), [](const BalanceLossBackward& task, Context&) { host::balance_loss_backward(task); }},
      {"ref", [](const BalanceLossBackward& task, Context&) { ref::balance_loss_backward(task); }}};
  return list;
}

template <class real>
std::span<const RouterLoss<real>> router_losses() {
  return kRouterLosses<real>;
}

#define TROUPE_INSTANTIATE(real)             \
  template struct BalanceLoss<real>;         \
  template struct BalanceLossBackward<real>; \
  template std::span<const RouterLoss<real>> router_losses();
TROUPE_INSTANTIATE(float)
TROUPE_INSTANTIATE(double)
#undef TROUPE_INSTANTIATE

}  // namespace troupe
