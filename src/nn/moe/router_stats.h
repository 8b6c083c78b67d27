// What is reported about one MoE layer in one pass (fairseq criterions/fairseq_criterion.py:155-167).
#pragma once

#include <cstdint>
#include <vector>

namespace troupe {

struct RouterStats {
  int64_t layer = 0;
  int64_t tokens = 0;
  std::vector<int64_t> load_E;       // (token, choice) pairs per expert before dropping
  std::vector<int64_t> dropped_K;    // dropped choices by rank of the choice
  double entropy_sum = 0.0;          // sum over tokens of the router's entropy, nats
  double aux = 0.0;                  // balance loss, 1 = balanced; token-weighted mean over routing groups
  std::vector<double> aux_by_group;  // of the last pass alone
  int64_t aux_tokens = 0;            // tokens behind aux

  RouterStats& operator+=(const RouterStats& other);  // of the same layer

  double entropy() const { return tokens ? entropy_sum / static_cast<double>(tokens) : 0.0; }
  double drop_rate(int64_t choice) const;  // share of that rank's choices dropped
  int64_t unused_experts() const;
  double busiest_fifth() const;  // share of choices on the ceil(0.2 E) busiest experts
  double idlest_fifth() const;
};

}  // namespace troupe
