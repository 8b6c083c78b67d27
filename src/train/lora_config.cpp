#include "train/lora_config.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <set>
#include <string_view>

#include "base/error.h"

namespace troupe {
namespace {

constexpr std::string_view kGate = "gate_proj", kUp = "up_proj", kExperts = "experts", kRouter = "router";
constexpr std::array<std::string_view, 9> kTargets = {"q_proj", "k_proj",    "v_proj", "o_proj", kGate,
                                                      kUp,      "down_proj", kExperts, kRouter};

// What a matrix is called; "": it can have no adapter. Gate and up of a gated network are one matrix here: up_proj.
std::string_view target_of(const Parameter& parameter) {
  if (parameter.layer < 0 || parameter.shape.size() != 2) return {};
  if (parameter.role == Role::kExpert) return kExperts;
  const auto is = [&](std::string_view end) { return parameter.name.ends_with(end); };
  for (const std::string_view name : {"q_proj", "k_proj", "v_proj"})
    if (is(fmt::format(".attn.{}.weight", name))) return name;
  return is(".attn.out_proj.weight") ? "o_proj"
         : is(".moe.router.weight")  ? kRouter
         : is(".fc1.weight")         ? kUp
         : is(".fc2.weight")         ? "down_proj"
                                     : "";
}

}  // namespace

Selection lora_targets(const std::vector<std::string>& targets) {
  return [chosen = std::set<std::string, std::less<>>(targets.begin(), targets.end())](const Parameter& parameter) {
    return chosen.contains(target_of(parameter));
  };
}

void check_lora(const LoraConfig& config, const ParameterTable& table, const std::string& where) {
  if (config.targets.empty())
    fail(ErrorCode::kUsage, "{}: finetune.lora.targets: expected some of {}, got none", where,
         fmt::join(kTargets, ", "));
  std::set<std::string_view> given, there;
  bool gated = false;
  for (const ParameterFamily& family : table.families()) {
    const std::string_view name = target_of(family.pattern);
    there.insert(name);
    if (name == kUp && family.pattern.stacked == 2) gated = true;
  }
  if (gated) there.insert(kGate);
  for (const std::string& target : config.targets) {
    if (std::ranges::find(kTargets, target) == kTargets.end())
      fail(ErrorCode::kUsage, "{}: finetune.lora.targets: expected some of {}, got {}", where,
           fmt::join(kTargets, ", "), target);
    if (!given.insert(target).second)
      fail(ErrorCode::kUsage, "{}: finetune.lora.targets: expected each once, got {} twice", where, target);
    if (!there.contains(target))
      fail(ErrorCode::kUsage, "{}: finetune.lora.targets: expected matrices of the model, got {}, of which it has none",
           where, target);
  }
  if (gated && given.contains(kGate) != given.contains(kUp))
    fail(ErrorCode::kUsage,
         "{}: finetune.lora.targets: expected {} and {} together (they are one matrix here), got {} alone", where,
         kGate, kUp, given.contains(kGate) ? kGate : kUp);
  for (const std::string_view name : {kExperts, kRouter})
    if (config.dropout > 0.0 && given.contains(name))
      fail(ErrorCode::kUsage,
           "{}: finetune.lora.dropout: expected 0 beside the target {} (as in PEFT, the inputs of {} and {} are not "
           "dropped), got {}",
           where, name, kExperts, kRouter, config.dropout);
}

}  // namespace troupe
