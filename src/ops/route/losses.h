// Losses of routing: additive terms, each a row of router_losses() and a pair of ops, defined over a routing group and
// reported by name. To add one: its ops here, their loops in route_losses.h of kernels, kernels/ref and kernels/cuda, its
// weight in MoeConfig.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "ops/later.h"
#include "ops/op.h"
#include "ops/route/task.h"

namespace troupe {

// l_aux of fairseq: E * sum_e me_e ce_e,  me_e = mean of prob_te over the group, ce_e = share of its tokens whose first
// choice, before dropping, is e, both divided by the group's slots; 1 if either is even. ce gets no gradient. With
// balance_choices "all" ce_e is the share of all choices (DeepSeek-V3, equation 18), with balance_over "update" of those
// of the micro-batches before as well (Qiu et al. 2025, arXiv:2501.11873); of sigmoids me_e is the mean of their shares
// of a token's sum (DeepSeek-V3, equation 19).
template <class Real>
struct BalanceLoss {
  using real = Real;
  static constexpr std::string_view kName = "balance_loss";

  RouteRequest request;
  const Routing<real>& routing;
  std::span<double> loss_G;  // on the host; overwritten
  Later<std::vector<double>>* later = nullptr;  // a place for them, if loss_G can wait

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

// The penalty on large logits of ST-MoE (Zoph et al. 2022): mean over a group's tokens of (log sum_e exp(z_te))^2,
// whose roots the routing keeps.
template <class Real>
struct RouterZLoss {
  using real = Real;
  static constexpr std::string_view kName = "router_z_loss";

  RouteRequest request;
  Matrix<const real> logits_TE;
  const Routing<real>& routing;  // its lse_T is overwritten
  std::span<double> loss_G;      // on the host; overwritten
  Later<std::vector<double>>* later = nullptr;  // a place for them, if loss_G can wait

  static Implementations<RouterZLoss> implementations();
};

// Adds scale_g * d(loss of group g)/d(z_te): 2 lse_t p_te / S.
template <class Real>
struct RouterZLossBackward {
  using real = Real;
  static constexpr std::string_view kName = "router_z_loss_backward";

  RouteRequest request;
  const Routing<real>& routing;
  std::span<const double> scale_G;  // on the host
  Matrix<real> dlogits_TE;          // added to

  static Implementations<RouterZLossBackward> implementations();
};

template <class real>
struct RouterLoss {
  std::string_view name;
  double (*weight)(const MoeConfig&);  // in the training loss, per token
  void (*value)(const RouteRequest&, Matrix<const real> logits_TE, const Routing<real>&, std::span<double> loss_G,
                Later<std::vector<double>>& later);
  // By probabilities, before RouteBackward, or by logits, after it; the other is nullptr.
  void (*add_gradient)(const RouteRequest&, const Routing<real>&, std::span<const double> scale_G,
                       Matrix<real> dprob_GE);
  void (*add_logit_gradient)(const RouteRequest&, const Routing<real>&, std::span<const double> scale_G,
                             Matrix<real> dlogits_TE);
};

inline constexpr std::string_view kBalanceLoss = "balance", kRouterZLoss = "z";

// The terms, in the order in which they are reported.
template <class real>
std::span<const RouterLoss<real>> router_losses();

}  // namespace troupe
