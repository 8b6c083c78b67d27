// Losses of routing: additive terms, each a row of router_losses() and a pair of ops, defined over a routing group and
// reported by name. To add one: its ops here, their loops in kernels/route.h and kernels/ref/route.h, its weight in
// MoeConfig. (A penalty on large logits would keep the log of their sums in Routing, and add to dlogits_TE after
// RouteBackward.)
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "ops/op.h"
#include "ops/route/task.h"

namespace troupe {

// l_aux of fairseq: E * sum_e me_e ce_e,  me_e = mean of prob_te over the group, ce_e = share of its tokens whose first
// choice, before dropping, is e, both divided by the group's slots; 1 if either is even. ce gets no gradient.
template <class Real>
struct BalanceLoss {
  using real = Real;
  static constexpr std::string_view kName = "balance_loss";

  RouteRequest request;
  const Routing<real>& routing;
  std::span<double> loss_G;  // on the host; overwritten

  static Implementations<BalanceLoss> implementations();
};

// Adds scale_g * d(loss of group g)/d(prob_te), the same for every token t of the group: E ce_e / S.
template <class Real>
struct BalanceLossBackward {
  using real = Real;
  static constexpr std::string_view kName = "balance_loss_backward";

  RouteRequest request;
  const Routing<real>& routing;
  std::span<const double> scale_G;  // on the host
  Matrix<real> dprob_GE;            // added to

  static Implementations<BalanceLossBackward> implementations();
};

template <class real>
struct RouterLoss {
  std::string_view name;
  double (*weight)(const MoeConfig&);  // in the training loss, per token
  void (*value)(const RouteRequest&, const Routing<real>&, std::span<double> loss_G);
  void (*add_gradient)(const RouteRequest&, const Routing<real>&, std::span<const double> scale_G,
                       Matrix<real> dprob_GE);
};

inline constexpr std::string_view kBalanceLoss = "balance";

// The terms, in the order in which they are reported.
template <class real>
std::span<const RouterLoss<real>> router_losses();

}  // namespace troupe
