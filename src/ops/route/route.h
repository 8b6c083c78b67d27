// Routing: from the router's logits to rows for the experts, the losses that keep it even, and the gradient of both.
// Who chooses whom is a policy (policy.h), the losses are additive terms (losses.h). Reference: kernels/ref/route.h.
#pragma once

#include <span>

#include "ops/route/router_stats.h"
#include "ops/route/task.h"

namespace troupe {

// Fills `routing` from logits_TE. Returns statistics (of layer 0: the caller knows which) with every loss of the list.
template <class real>
RouterStats route(const RouteTask& task, Matrix<const real> logits_TE, Routing<real>& routing);

// dlogits_TE (overwritten) from dweight_R, the gradient by the weight of a row, and from the losses: loss_scale
// [losses, groups] is the derivative of what is minimised by each loss of the list in each group.
template <class real>
void route_backward(const RouteTask& task, const Routing<real>& routing, std::span<const real> dweight_R,
                    std::span<const double> loss_scale, Matrix<real> dlogits_TE);

}  // namespace troupe
