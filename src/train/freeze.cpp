#include "train/freeze.h"

#include <algorithm>
#include <numeric>

#include "base/error.h"
#include "model/decoder_parameters.h"

namespace troupe {
namespace {

bool is_expert(const Parameter& parameter) { return parameter.role == Role::kExpert; }
bool is_attention(const Parameter& parameter) { return parameter.name.find(".attn.") != parameter.name.npos; }

}  // namespace

ChosenExperts choose_experts(const std::vector<RouterStats>& use, double top_p) {
  ChosenExperts chosen;
  for (const RouterStats& router : use) {
    const std::vector<int64_t>& loads = router.load_E;
    std::vector<int64_t> order(loads.size());
    std::iota(order.begin(), order.end(), int64_t{0});
    const auto load = [&](int64_t expert) { return loads[static_cast<size_t>(expert)]; };
    std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) { return load(a) > load(b); });
    const double wanted = top_p * static_cast<double>(std::accumulate(loads.begin(), loads.end(), int64_t{0}));
    double share = 0.0;
    for (const int64_t expert : order) {
      chosen[router.layer].insert(expert);
      if ((share += static_cast<double>(load(expert))) >= wanted) break;
    }
  }
  return chosen;
}

Selection trained_of(Freeze freeze, const ChosenExperts& chosen) {
  switch (freeze) {
    case Freeze::kNothing:
      break;
    case Freeze::kExperts:
      return [](const Parameter& parameter) { return !is_expert(parameter); };
    case Freeze::kRouter:
      return [](const Parameter& parameter) { return !is_router(parameter); };
    case Freeze::kAllButAttention:
      return is_attention;
    case Freeze::kAllButExperts:
      return is_expert;
    case Freeze::kAllButChosenExperts:
      return [chosen](const Parameter& parameter) {
        const auto layer = chosen.find(parameter.layer);
        return is_expert(parameter) && layer != chosen.end() && layer->second.contains(parameter.expert);
      };
  }
  return {};
}

void check_freeze(Freeze freeze, const ParameterTable& table, const std::string& where) {
  const bool of_experts = freeze != Freeze::kNothing && freeze != Freeze::kAllButAttention;
  const bool sparse =
      std::ranges::any_of(table.families(), [](const auto& family) { return is_expert(family.pattern); });
  if (of_experts && !sparse)
    fail(ErrorCode::kUsage, "{}: finetune.freeze: expected nothing or all_but_attention for a dense model, got {}",
         where, name_of_enum(freeze));
}

}  // namespace troupe
