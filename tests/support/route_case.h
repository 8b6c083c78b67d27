// One call of routing with memory of its own, for tests.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "ops/route/route.h"

namespace troupe::test {

template <class real>
struct RouteCase {
  MoeConfig config;
  std::vector<real> logits;
  int64_t group = 0;  // tokens; 0: all
  std::vector<uint8_t> valid;
  CapacityRule capacity;
  bool training = true;
  uint64_t key = 7;
  int64_t first_token = 0;
  std::vector<int32_t> ids;   // of tokens, for a hash
  std::vector<real> bias;     // of experts
  std::vector<int64_t> before;  // loads of the micro-batches before, of tokens_before tokens
  int64_t tokens_before = 0;

  Arena arena{active_memory()};
  Routing<real> routing;
  RouterStats stats;

  int64_t tokens() const { return static_cast<int64_t>(logits.size()) / config.num_experts; }
  int64_t group_tokens() const { return group > 0 ? group : tokens(); }
  int64_t num_groups() const { return (tokens() + group_tokens() - 1) / group_tokens(); }
  Matrix<const real> logits_TE() const { return {logits.data(), tokens(), config.num_experts}; }
  RouteRequest request() const {
    return {.config = config,
            .groups = {group_tokens(), valid},
            .capacity = capacity,
            .training = training,
            .key = key,
            .first_token = first_token,
            .ids_T = ids,
            .hash_key = 5,
            .before = {before, tokens_before}};
  }

  void run() {
    arena.restart();
    routing.plan(arena, config, tokens());
    arena.commit();
    routing.plan(arena, config, tokens());
    stats = route<real>(request(), logits_TE(), routing, bias);
  }
};

}  // namespace troupe::test
