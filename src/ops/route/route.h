// Routing: from the router's logits to rows for the experts, and the gradient. Who chooses whom is a policy (policy.h),
// the losses that keep it even are ops of their own (losses.h).
#pragma once

#include <cstdint>
#include <span>

#include "ops/op.h"
#include "ops/route/router_stats.h"
#include "ops/route/task.h"

namespace troupe {

// Cost O(T E K^2); expert_choice: O(T E).
template <class Real>
struct Route {
  using real = Real;
  static constexpr std::string_view kName = "route";

  RouteRequest request;
  Matrix<const real> logits_TE;
  Routing<real>& routing;  // overwritten
  RouterStats& stats;      // on the host; gets what was chosen and dropped, and the entropy, or leaves it to arrive()
  std::span<const real> bias_E = {};  // added to scores where choices are made; empty: none

  static Implementations<Route> implementations();
};

// Through weights and probabilities to the logits; choices and biases have no gradient. Not for a hash.
template <class Real>
struct RouteBackward {
  using real = Real;
  static constexpr std::string_view kName = "route_backward";

  RouteRequest request;
  const Routing<real>& routing;
  std::span<const real> dweight_R;  // by the weight of a row
  // By the probabilities of a group's tokens, the same for all of them; of sigmoids by their shares of a token's sum.
  Matrix<const real> dprob_GE;
  Matrix<real> dlogits_TE;          // overwritten

  static Implementations<RouteBackward> implementations();
};

// What a layer runs: Route and every loss. Returns the statistics (of layer 0: the caller knows which).
template <class real>
RouterStats route(const RouteRequest& request, Matrix<const real> logits_TE, Routing<real>& routing,
                  std::span<const real> bias_E = {});

// And the way back. loss_scale [losses, groups] is the derivative of what is minimised by each loss of the list in each
// group.
template <class real>
void route_backward(const RouteRequest& request, const Routing<real>& routing, std::span<const real> dweight_R,
                    std::span<const double> loss_scale, Matrix<real> dlogits_TE);

}  // namespace troupe
