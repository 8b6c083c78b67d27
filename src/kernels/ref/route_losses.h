// The losses of routing as their equations read; tasks are those of ops/route/losses.h.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "kernels/ref/route.h"
#include "tensor/host_matrix.h"
#include "troupe/config.h"

namespace troupe::ref {

// Expert e's share of the first choices, or of all, of a group's S tokens and of those in the micro-batches before.
template <class Task>
double counted_share(const Task& task, int64_t g, int64_t e) {
  const auto& request = task.request;
  const int64_t begin = request.groups.begin(g), end = request.groups.end(g, task.routing.T);
  const int64_t counted = request.config.balance_choices == BalanceChoices::kAll ? task.routing.K : 1;
  double count = request.before.load_E.empty() ? 0.0 : static_cast<double>(request.before.load_E[e]);
  for (int64_t t = begin; t < end; ++t)
    for (int64_t k = 0; k < counted; ++k) count += task.routing.choices.expert_TK[t * task.routing.K + k] == e;
  return count / static_cast<double>(counted * (end - begin + request.before.tokens));
}

// E * sum_e (mean of q_te over the group's S tokens) * (e's share of choices)
template <class Task>
void balance_loss(const Task& task) {
  for (int64_t g = 0; g < task.request.groups.count(task.routing.T); ++g) {
    const int64_t begin = task.request.groups.begin(g), end = task.request.groups.end(g, task.routing.T);
    task.loss_G[g] = 0.0;
    for (int64_t e = 0; e < task.routing.E; ++e) {
      double mean = 0.0;
      for (int64_t t = begin; t < end; ++t)
        mean += share_of_score(task.request, task.routing, t, e) / static_cast<double>(end - begin);
      task.loss_G[g] += static_cast<double>(task.routing.E) * mean * counted_share(task, g, e);
    }
  }
}

// d(loss)/dq_te = E share_e / S
template <class Task>
void balance_loss_backward(const Task& task) {
  using real = typename Task::real;
  const HostMatrix<real> dprob_GE = task.dprob_GE;
  for (int64_t g = 0; g < dprob_GE.rows; ++g) {
    const auto S = static_cast<double>(task.request.groups.end(g, task.routing.T) - task.request.groups.begin(g));
    for (int64_t e = 0; e < dprob_GE.cols; ++e)
      dprob_GE(g, e) +=
          static_cast<real>(task.scale_G[g] * static_cast<double>(task.routing.E) * counted_share(task, g, e) / S);
  }
}

// Mean over the group's tokens of (log sum_e exp(z_te))^2.
template <class Task>
void router_z_loss(const Task& task) {
  using real = typename Task::real;
  const HostMatrix<const real> logits_TE = task.logits_TE;
  for (int64_t g = 0; g < task.request.groups.count(task.routing.T); ++g) {
    const int64_t begin = task.request.groups.begin(g), end = task.request.groups.end(g, task.routing.T);
    task.loss_G[g] = 0.0;
    for (int64_t t = begin; t < end; ++t) {
      real max = logits_TE(t, 0);
      double sum = 0.0;
      for (int64_t e = 1; e < logits_TE.cols; ++e) max = std::max(max, logits_TE(t, e));
      for (int64_t e = 0; e < logits_TE.cols; ++e) sum += std::exp(static_cast<double>(logits_TE(t, e) - max));
      const double lse = static_cast<double>(max) + std::log(sum);
      task.routing.lse_T[t] = static_cast<real>(lse);
      task.loss_G[g] += lse * lse / static_cast<double>(end - begin);
    }
  }
}

// d(loss)/dz_te = 2 lse_t p_te / S
template <class Task>
void router_z_loss_backward(const Task& task) {
  using real = typename Task::real;
  const HostMatrix<const real> prob_TE = task.routing.prob_TE;
  const HostMatrix<real> dlogits_TE = task.dlogits_TE;
  for (int64_t t = 0; t < dlogits_TE.rows; ++t) {
    const int64_t g = t / task.request.groups.size;
    const auto S = static_cast<double>(task.request.groups.end(g, task.routing.T) - task.request.groups.begin(g));
    for (int64_t e = 0; e < dlogits_TE.cols; ++e)
      dlogits_TE(t, e) += static_cast<real>(task.scale_G[g] * 2.0 * double{task.routing.lse_T[t]} * prob_TE(t, e) / S);
  }
}

}  // namespace troupe::ref
