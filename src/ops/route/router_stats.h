// What is reported about one MoE layer in one pass (fairseq criterions/fairseq_criterion.py:155-167).
#pragma once

#include <cstdint>
#include <functional>
#include <string_view>
#include <utility>
#include <vector>

namespace troupe {

struct RouterStats {
  int64_t layer = 0;
  int64_t tokens = 0;
  std::vector<int64_t> load_E;     // (token, choice) pairs per expert before dropping
  std::vector<int64_t> dropped_K;  // dropped choices by rank of the choice
  double entropy_sum = 0.0;        // sum over tokens of the router's entropy, nats

  // A term of router_losses() (losses.h) by its name.
  struct Loss {
    std::string_view name;
    double mean = 0.0;             // token-weighted, over routing groups
    std::vector<double> by_group;  // of one pass; empty in a sum of passes
  };
  std::vector<Loss> losses;
  int64_t loss_tokens = 0;  // tokens behind their means

  // What of it is still on its way from a device: waits for it and fills it in. Empty: nothing is.
  std::function<void(RouterStats&)> rest;
  void arrive() {
    if (const auto fill_in = std::exchange(rest, {})) fill_in(*this);
  }

  RouterStats& operator+=(const RouterStats& other);  // of the same layer; all of both has arrived

  double loss(std::string_view name) const;  // its mean, 0 if it was not reported

  double entropy() const { return tokens ? entropy_sum / static_cast<double>(tokens) : 0.0; }
  double drop_rate(int64_t choice) const;  // share of that rank's choices dropped
  int64_t unused_experts() const;
  double busiest_fifth() const;  // share of choices on the ceil(0.2 E) busiest experts
  double idlest_fifth() const;
};

}  // namespace troupe
