// The policy "top_k": every token chooses its K best experts by a softmax of the router's logits, with fairseq's
// options (modules/moe/top2gate.py and top1gate.py, branch moe; GShard, Switch).
//
// The first choice is the most probable expert, every later one has the largest logit among the rest; ties go to the
// lowest index. Places count tokens in order, choices of one rank after all choices of the ranks before. A weight is
// the choice's probability, divided by a sum or not (normalize). Choices get no gradient. Cost O(T E K^2).
#pragma once

#include "ops/route/policy.h"

namespace troupe {

template <class real>
RouterPolicy<real> top_k_policy();

extern template RouterPolicy<float> top_k_policy();
extern template RouterPolicy<double> top_k_policy();

}  // namespace troupe
