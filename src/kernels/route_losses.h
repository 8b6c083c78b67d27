// The losses of routing on the host, in parallel over groups and tokens; tasks are those of ops/route/losses.h.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "base/threads.h"
#include "kernels/route.h"
#include "tensor/host_matrix.h"
#include "troupe/config.h"

namespace troupe::host {

// How many choices of a token the balance loss counts.
inline int64_t counted_choices(const MoeConfig& config) {
  return config.balance_choices == BalanceChoices::kAll ? config.top_k : 1;
}

// Each expert's share of those of a group's tokens, and of the micro-batches before.
template <class Request, class Routing>
std::vector<double> shares_of_choices(const Request& request, const Routing& routing, int64_t begin, int64_t end) {
  const int64_t counted = counted_choices(request.config);
  std::vector<int64_t> count_E(static_cast<size_t>(routing.E), 0);
  for (int64_t t = begin; t < end; ++t)
    for (int64_t k = 0; k < counted; ++k)
      if (const int32_t expert = routing.choices.expert_TK[t * routing.K + k]; expert >= 0)
        ++count_E[static_cast<size_t>(expert)];
  for (size_t e = 0; e < request.before.load_E.size(); ++e) count_E[e] += request.before.load_E[e];
  const auto all = static_cast<double>(counted * (end - begin + request.before.tokens));
  std::vector<double> share_E;
  for (const int64_t count : count_E) share_E.push_back(static_cast<double>(count) / all);
  return share_E;
}

template <class Task>
void balance_loss(const Task& task) {
  const HostMatrix<const typename Task::real> prob_TE = task.routing.prob_TE;
  parallel_for(task.request.groups.count(task.routing.T), [&](int64_t g) {
    const int64_t begin = task.request.groups.begin(g), end = task.request.groups.end(g, task.routing.T);
    const auto S = static_cast<double>(end - begin), E = static_cast<double>(prob_TE.cols);
    const std::vector<double> share_E = shares_of_choices(task.request, task.routing, begin, end);
    std::vector<double> mean_E(share_E.size(), 0.0);
    for (int64_t t = begin; t < end; ++t) {
      const auto* const prob = prob_TE.row(t);
      const auto scores = sum_of_scores(task.request.config, prob, prob_TE.cols);
      for (size_t e = 0; e < mean_E.size(); ++e) mean_E[e] += static_cast<double>(prob[e] / scores);
    }
    double sum = 0.0;
    for (size_t e = 0; e < mean_E.size(); ++e) sum += mean_E[e] / S * share_E[e];
    task.loss_G[static_cast<size_t>(g)] = E * sum;
  });
}

template <class Task>
void balance_loss_backward(const Task& task) {
  using real = typename Task::real;
  const HostMatrix<real> dprob_GE = task.dprob_GE;
  parallel_for(dprob_GE.rows, [&](int64_t g) {
    const int64_t begin = task.request.groups.begin(g), end = task.request.groups.end(g, task.routing.T);
    const auto S = static_cast<double>(end - begin), E = static_cast<double>(dprob_GE.cols);
    const double scale = task.scale_G[static_cast<size_t>(g)];
    const std::vector<double> share_E = shares_of_choices(task.request, task.routing, begin, end);
    for (size_t e = 0; e < share_E.size(); ++e) dprob_GE.row(g)[e] += static_cast<real>(scale * E * share_E[e] / S);
  });
}

template <class Task>
void router_z_loss(const Task& task) {
  using real = typename Task::real;
  const HostMatrix<const real> logits_TE = task.logits_TE;
  parallel_for(task.request.groups.count(task.routing.T), [&](int64_t g) {
    const int64_t begin = task.request.groups.begin(g), end = task.request.groups.end(g, task.routing.T);
    double squares = 0.0;
    for (int64_t t = begin; t < end; ++t) {
      const real* const z = logits_TE.row(t);
      const real max = *std::max_element(z, z + logits_TE.cols);
      real sum = 0;
      for (int64_t e = 0; e < logits_TE.cols; ++e) sum += std::exp(z[e] - max);
      const real lse = max + std::log(sum);
      task.routing.lse_T[t] = lse;
      squares += static_cast<double>(lse) * static_cast<double>(lse);
    }
    task.loss_G[static_cast<size_t>(g)] = squares / static_cast<double>(end - begin);
  });
}

template <class Task>
void router_z_loss_backward(const Task& task) {
  using real = typename Task::real;
  const HostMatrix<const real> prob_TE = task.routing.prob_TE;
  const HostMatrix<real> dlogits_TE = task.dlogits_TE;
  parallel_chunks(dlogits_TE.rows, kRouteChunk, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      const int64_t g = t / task.request.groups.size;
      const auto S = static_cast<double>(task.request.groups.end(g, task.routing.T) - task.request.groups.begin(g));
      const auto factor = static_cast<real>(task.scale_G[static_cast<size_t>(g)] * 2.0 / S) * task.routing.lse_T[t];
      for (int64_t e = 0; e < dlogits_TE.cols; ++e) dlogits_TE(t, e) += factor * prob_TE(t, e);
    }
  });
}

}  // namespace troupe::host
