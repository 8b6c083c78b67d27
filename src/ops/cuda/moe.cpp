// Routing, its loss, and rows between tokens and experts on the device. What the host reads of routing (rows per
// expert, statistics, losses) is on its way to it at the end of the op.
#include <algorithm>
#include <numeric>
#include <vector>

#include "ops/cuda/row.h"
#include "ops/jitter.h"
#include "ops/moe_rows.h"
#include "ops/route/losses.h"
#include "ops/route/route.h"

namespace troupe {
namespace {

cuda::Rows device_rows(const Routed<float>& rows) {
  return {rows.token_of_R.data(), rows.choice_of_R.data(), rows.rows_by_token.data(),
          rows.begin_T.data(),    rows.weight_R.data(),    rows.num_choices};
}

cuda::RouteSizes device_sizes(const RouteRequest& request, const Routing<float>& routing,
                              std::span<const float> bias_E = {}) {
  const MoeConfig& config = request.config;
  const bool chance = request.chance();
  const bool masked = config.pad_mask && !request.groups.token_valid.empty();
  using Sizes = cuda::RouteSizes;
  return {.T = routing.T,
          .E = routing.E,
          .K = routing.K,
          .group_size = request.groups.size,
          .choice = config.router == RouterKind::kHash           ? Sizes::kByHash
                    : config.router == RouterKind::kExpertChoice ? Sizes::kByExperts
                    : chosen_by_score(config)                    ? Sizes::kByScore
                                                                 : Sizes::kByLogits,
          .sigmoid = config.score == RouterScore::kSigmoid,
          .noisy = chance && config.second_choice == SecondChoice::kSampling,
          .random = chance && config.second_choice == SecondChoice::kRandom,
          .groups = config.groups,
          .groups_kept = config.groups_kept,
          .bias_E = bias_E.empty() ? nullptr : bias_E.data(),
          .ids_T = request.ids_T.data(),
          .hash_key = request.hash_key,
          .id_stride = kMaxTopK,
          .output_scale = static_cast<float>(config.output_scale),
          .counted = config.balance_choices == BalanceChoices::kAll ? config.top_k : 1,
          .normalize = config.normalize == Normalize::kNever            ? Sizes::kNever
                       : config.normalize == Normalize::kBeforeDropping ? Sizes::kBeforeDropping
                                                                        : Sizes::kAfterDropping,
          .key = request.key,
          .first_token = request.first_token,
          .token_valid = masked ? request.groups.token_valid.data() : nullptr,
          .expert_TK = routing.choices.expert_TK.data(),
          .place_TK = routing.choices.place_TK.data(),
          .kept_TK = routing.choices.kept_TK.data(),
          .prob = cuda::view(routing.prob_TE)};
}

// Whether no choice is masked and every expert has room for a choice of every token.
bool keeps_all(const RouteRequest& request, const cuda::RouteSizes& sizes, int64_t tokens_of_last) {
  return sizes.choice != cuda::RouteSizes::kByExperts && !sizes.token_valid && !sizes.random &&
         request.places(request.groups.size) >= request.groups.size && request.places(tokens_of_last) >= tokens_of_last;
}

// Losses by group, left for later where a task has a place for them.
template <class Task>
void give(const Task& task, const Later<std::vector<double>>& losses) {
  if (task.later)
    *task.later = losses;
  else
    std::ranges::copy(losses(), task.loss_G.begin());
}

// Tokens of every group.
std::vector<double> group_sizes(const RoutingGroups& groups, int64_t T) {
  std::vector<double> sizes;
  for (int64_t g = 0; g < groups.count(T); ++g)
    sizes.push_back(static_cast<double>(groups.end(g, T) - groups.begin(g)));
  return sizes;
}

// Memory of the context for `count` values.
template <class T>
struct Room : Context::Lease {
  Room(Context& context, int64_t count) : Lease(context, std::max<int64_t>(count, 1) * int64_t{sizeof(T)}) {}
  operator T*() const { return this->template as<T>(); }
};

}  // namespace

template <class Real>
void on_cuda(const Route<Real>& task, Context& context) {
  Routing<Real>& routing = task.routing;
  Routed<Real>& rows = routing.rows;
  const RoutingGroups& groups = task.request.groups;
  const cuda::RouteSizes sizes = device_sizes(task.request, routing, task.bias_E);
  const bool experts_choose = task.request.config.router == RouterKind::kExpertChoice;
  const int64_t T = routing.T, E = routing.E, K = routing.K, num_groups = groups.count(T);

  cuda::RouteChooseKernel choose{sizes, cuda::view(task.logits_TE), nullptr};
  cuda::CountChoicesKernel count{sizes, nullptr, nullptr};
  // What the host is told at the end, side by side: numbers of 8 bytes, then of 4.
  const int64_t num_parts = count.blocks(), num_wide = choose.blocks() + E + 1;
  const int64_t num_told = num_wide + (num_groups * E + 2 * num_parts + 1) / 2;
  const Room<double> told(context, num_told);
  double* const entropy = told;
  auto* const offsets_told = reinterpret_cast<int64_t*>(entropy + choose.blocks());
  auto* const totals = reinterpret_cast<int32_t*>(entropy + num_wide);
  count.chosen = totals + num_groups * E, count.kept = count.chosen + num_parts;
  choose.entropy = entropy;
  cuda::launch(choose);

  const bool prioritized = task.request.config.batch_prioritized;
  const Room<float> top(context, prioritized ? T : 0);
  const Room<int32_t> order_T(context, prioritized ? T : 0);
  if (prioritized) cuda::launch(cuda::RouteOrderKernel{sizes, top, order_T});

  cuda::ChoiceOrder order{T, K, groups.size, sizes.expert_TK, nullptr, prioritized ? order_T.as<int32_t>() : nullptr};
  const int64_t tiles = order.tiles_of_a_group(), all_tiles = cuda::blocks_of(T * K, cuda::ChoiceOrder::kTile);
  const Room<int32_t> counts(context, std::max(num_groups * tiles, all_tiles) * E);
  cuda::launch(cuda::TileCountsKernel{order, E, tiles, counts});
  cuda::launch(cuda::ScanTilesKernel{num_groups, E, tiles, counts, totals});
  const int64_t tokens_of_last = T - groups.begin(std::max<int64_t>(num_groups - 1, 0));
  if (experts_choose)
    cuda::launch(cuda::ExpertsChooseKernel{sizes, tokens_of_an_expert(task.request.config, groups.size),
                                           tokens_of_an_expert(task.request.config, tokens_of_last)});
  else
    cuda::launch(cuda::PlaceKernel{order, sizes, tiles, counts, task.request.places(groups.size),
                                   task.request.places(tokens_of_last)});

  order.group_size = T, order.kept_TK = sizes.kept_TK;
  int64_t* const offsets = rows.offsets_there.data();
  rows.routed_there = true;
  rows.all_kept = keeps_all(task.request, sizes, tokens_of_last);
  const Room<int32_t> row_of_TK(context, T * K), kept_E(context, E);
  cuda::launch(cuda::TileCountsKernel{order, E, all_tiles, counts});
  cuda::launch(cuda::ScanTilesKernel{1, E, all_tiles, counts, kept_E});
  cuda::launch(cuda::OffsetsKernel{E, kept_E, offsets, offsets_told});
  cuda::launch(cuda::RouteRowsKernel{order, E, all_tiles, counts, offsets, rows.token_of_R.data(),
                                     rows.choice_of_R.data(), row_of_TK});
  cuda::launch(count);
  cuda::launch(cuda::RouteTokensKernel{sizes, count.kept, row_of_TK, rows.rows_by_token.data(), rows.begin_T.data(),
                                       rows.weight_R.data()});

  const cuda::Fetched<double> heard(told, num_told);
  rows.offsets.clear();
  rows.offsets_later = [heard, first = choose.blocks(), E] {
    const auto* const values = reinterpret_cast<const int64_t*>(heard.get().data() + first);
    return std::vector(values, values + E + 1);
  };
  const cuda::Fetched<int32_t> begin_T(rows.begin_T.data(), experts_choose ? T + 1 : 0);
  task.stats.tokens = T;
  task.stats.rest = [=, num_blocks = choose.blocks()](RouterStats& stats) {
    const double* const entropies = heard.get().data();
    stats.entropy_sum = std::accumulate(entropies, entropies + num_blocks, 0.0);
    stats.load_E.assign(static_cast<size_t>(E), 0);
    if (experts_choose) {  // what they chose, and how many tokens none of them did
      const auto* const first_E = reinterpret_cast<const int64_t*>(entropies + num_blocks);
      for (size_t e = 0; e < static_cast<size_t>(E); ++e) stats.load_E[e] = first_E[e + 1] - first_E[e];
      const std::span<const int32_t> first_T = begin_T.get();
      stats.dropped_K.assign(1, 0);
      for (size_t t = 0; t < static_cast<size_t>(T); ++t) stats.dropped_K[0] += first_T[t] == first_T[t + 1];
      return;
    }
    const auto* const chosen_GE = reinterpret_cast<const int32_t*>(entropies + num_wide);
    const int32_t *const chosen_parts = chosen_GE + num_groups * E, *const kept_parts = chosen_parts + num_parts;
    for (int64_t i = 0; i < num_groups * E; ++i) stats.load_E[static_cast<size_t>(i % E)] += chosen_GE[i];
    stats.dropped_K.assign(static_cast<size_t>(K), 0);
    for (int64_t i = 0; i < num_parts; ++i)
      stats.dropped_K[static_cast<size_t>(i / (num_parts / K))] += chosen_parts[i] - kept_parts[i];
  };
}

template <class Real>
void on_cuda(const RouteBackward<Real>& task, Context&) {
  const Routed<Real>& rows = task.routing.rows;
  cuda::launch(cuda::RouteBackwardKernel{device_sizes(task.request, task.routing), rows.rows_by_token.data(),
                                         rows.begin_T.data(), rows.choice_of_R.data(), task.dweight_R.data(),
                                         cuda::view(task.dprob_GE), cuda::view(task.dlogits_TE)});
}

namespace {

// `values` there, in the order of other work, without waiting for it.
void upload(std::span<const double> values, double* to) {
  using Numbers = cuda::NumbersKernel;
  for (size_t first = 0; first < values.size(); first += size_t{Numbers::kMost}) {
    const std::span<const double> some = values.subspan(first, std::min(values.size() - first, size_t{Numbers::kMost}));
    Numbers numbers{.count = static_cast<int64_t>(some.size()), .to = to + first, .values = {}};
    std::ranges::copy(some, numbers.values);
    cuda::launch(numbers);
  }
}

// [G, E] there: each expert's share of the counted choices, and the sums of its probabilities unless that is nullptr.
void sum_groups(const RouteRequest& request, const Routing<float>& routing, double* probability, double* share,
                Context& context) {
  cuda::GroupPartsKernel parts{device_sizes(request, routing), nullptr, nullptr};
  const int64_t T = routing.T, E = routing.E, num_groups = request.groups.count(T);
  const int64_t number = parts.parts();
  const Room<double> sums(context, probability ? num_groups * number * E : 0), before(context, E);
  const Room<int32_t> counted(context, num_groups * number * E);
  if (probability) parts.probability = sums;
  parts.counted = counted;
  cuda::launch(parts);
  const std::vector<double> load_before(request.before.load_E.begin(), request.before.load_E.end());
  upload(load_before, before);
  cuda::launch(cuda::GroupSumsKernel{.T = T,
                                     .E = E,
                                     .group_size = request.groups.size,
                                     .choices = parts.s.counted,
                                     .parts = number,
                                     .groups = num_groups,
                                     .part_of_probability = parts.probability,
                                     .part_of_counted = counted,
                                     .before_E = load_before.empty() ? nullptr : before.as<double>(),
                                     .tokens_before = request.before.tokens,
                                     .probability = probability,
                                     .share = share});
}

}  // namespace

template <class Real>
void on_cuda(const BalanceLoss<Real>& task, Context& context) {
  const int64_t T = task.routing.T, E = task.routing.E, num_groups = task.request.groups.count(T);
  const Room<double> both(context, 2 * num_groups * E);  // sums of probabilities, and shares
  sum_groups(task.request, task.routing, both, both + num_groups * E, context);
  give(task, [found = cuda::Fetched<double>(both, 2 * num_groups * E), E,
              sizes = group_sizes(task.request.groups, T)] {
    const double *const sum_GE = found.get().data(), *const share_GE = sum_GE + static_cast<int64_t>(sizes.size()) * E;
    std::vector<double> losses;
    for (int64_t at = 0; const double S : sizes) {
      double sum = 0.0;
      for (int64_t e = 0; e < E; ++e, ++at) sum += sum_GE[at] / S * share_GE[at];
      losses.push_back(static_cast<double>(E) * sum);
    }
    return losses;
  });
}

template <class Real>
void on_cuda(const BalanceLossBackward<Real>& task, Context& context) {
  const int64_t T = task.routing.T, E = task.routing.E, num_groups = task.dprob_GE.rows;
  const Room<double> scale(context, num_groups), share(context, num_groups * E);
  sum_groups(task.request, task.routing, nullptr, share, context);
  upload(task.scale_G, scale);
  cuda::launch(cuda::BalanceBackwardKernel{T, E, task.request.groups.size, share, scale, cuda::view(task.dprob_GE)});
}

template <class Real>
void on_cuda(const RouterZLoss<Real>& task, Context&) {
  const int64_t T = task.routing.T;
  cuda::launch(cuda::RouterLseKernel{cuda::view(task.logits_TE), task.routing.lse_T.data()});
  give(task, [found = cuda::Fetched<float>(task.routing.lse_T.data(), T),
              sizes = group_sizes(task.request.groups, T)] {
    std::vector<double> losses;
    for (auto lse = found.get().begin(); const double S : sizes) {
      double squares = 0.0;
      for (const auto end = lse + static_cast<std::ptrdiff_t>(S); lse != end; ++lse)
        squares += static_cast<double>(*lse) * static_cast<double>(*lse);
      losses.push_back(squares / S);
    }
    return losses;
  });
}

template <class Real>
void on_cuda(const RouterZLossBackward<Real>& task, Context& context) {
  const auto num_groups = static_cast<int64_t>(task.scale_G.size());
  const Room<double> scale(context, num_groups);
  upload(task.scale_G, scale);
  cuda::launch(cuda::RouterZBackwardKernel{task.request.groups.size,
                                           cuda::view(Matrix<const float>(task.routing.prob_TE)),
                                           task.routing.lse_T.data(), scale, cuda::view(task.dlogits_TE)});
}

template <class Real>
void on_cuda(const Jitter<Real>& task, Context&) {
  cuda::launch(cuda::JitterKernel{task.amount, task.key, task.first_row, cuda::view(task.x_TD)});
}

template <class P>
void on_cuda(const GatherRows<P>& task, Context&) {
  cuda::launch(cuda::GatherRowsKernel<typename P::operand>{cuda::view(task.x_TD), device_rows(task.rows),
                                                           cuda::view(task.xe_RD)});
}

template <class P>
void on_cuda(const GatherRowsBackward<P>& task, Context&) {
  cuda::launch(cuda::GatherRowsBackwardKernel{cuda::view(task.dxe_RD), device_rows(task.rows), cuda::view(task.dx_TD)});
}

template <class P>
void on_cuda(const CombineRows<P>& task, Context&) {
  cuda::launch(cuda::CombineRowsKernel{cuda::view(task.residual_TD), cuda::view(task.ye_RD), device_rows(task.rows),
                                       task.dropout, cuda::view(task.out_TD)});
}

template <class P>
void on_cuda(const CombineRowsBackward<P>& task, Context&) {
  cuda::launch(cuda::CombineRowsBackwardKernel<typename P::operand>{cuda::view(task.dout_TD), cuda::view(task.ye_RD),
                                                                    device_rows(task.rows), task.dropout,
                                                                    cuda::view(task.dye_RD), task.dweight_R.data()});
}

template <class P>
void on_cuda(const SharedRows<P>& task, Context&) {
  cuda::launch(cuda::SharedRowsKernel{cuda::view(task.y_TD), cuda::view(task.gate_T1), task.dropout,
                                      cuda::view(task.out_TD)});
}

template <class P>
void on_cuda(const SharedRowsBackward<P>& task, Context&) {
  cuda::launch(cuda::SharedRowsBackwardKernel<typename P::operand>{
      cuda::view(task.dout_TD), cuda::view(task.y_TD), cuda::view(task.gate_T1), task.dropout, cuda::view(task.dy_TD),
      cuda::view(task.dgate_T1)});
}

template void on_cuda(const Route<float>&, Context&);
template void on_cuda(const RouteBackward<float>&, Context&);
template void on_cuda(const Jitter<float>&, Context&);
template void on_cuda(const BalanceLoss<float>&, Context&);
template void on_cuda(const BalanceLossBackward<float>&, Context&);
template void on_cuda(const RouterZLoss<float>&, Context&);
template void on_cuda(const RouterZLossBackward<float>&, Context&);
#define TROUPE_INSTANTIATE(P)                                    \
  template void on_cuda(const GatherRows<P>&, Context&);         \
  template void on_cuda(const SharedRows<P>&, Context&);         \
  template void on_cuda(const SharedRowsBackward<P>&, Context&); \
  template void on_cuda(const GatherRowsBackward<P>&, Context&); \
  template void on_cuda(const CombineRows<P>&, Context&);        \
  template void on_cuda(const CombineRowsBackward<P>&, Context&);
TROUPE_INSTANTIATE(F32)
TROUPE_INSTANTIATE(Bf16)
#undef TROUPE_INSTANTIATE

}  // namespace troupe
