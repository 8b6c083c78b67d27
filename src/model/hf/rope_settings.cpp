#include "model/hf/rope_settings.h"

#include <array>
#include <cmath>
#include <utility>

namespace troupe {
namespace {

using nlohmann::ordered_json;

constexpr std::array kScalings = {std::pair{"default", RopeScaling::kNone}, std::pair{"linear", RopeScaling::kLinear},
                                  std::pair{"dynamic", RopeScaling::kDynamic},
                                  std::pair{"llama3", RopeScaling::kLlama3}, std::pair{"yarn", RopeScaling::kYarn}};

double number_in(const HfConfig& hf, const ordered_json& object, const char* key, double usual) {
  const auto found = object.find(key);
  if (found == object.end() || found->is_null()) return usual;
  if (!found->is_number()) hf.refuse(key, "a number", *found);
  return found->get<double>();
}

bool flag_in(const HfConfig& hf, const ordered_json& object, const char* key, bool usual) {
  const auto found = object.find(key);
  if (found == object.end() || found->is_null()) return usual;
  if (!found->is_boolean()) hf.refuse(key, "true or false", *found);
  return found->get<bool>();
}

constexpr const char* kOriginalContext = "original_max_position_embeddings";

int64_t original_context(const HfConfig& hf, const ordered_json& rope, double usual) {
  constexpr double kMost = 1 << 24;  // as of rope.original_context
  const double given = number_in(hf, rope, kOriginalContext, usual);
  if (!(given >= 1 && given <= kMost) || given != std::floor(given))
    hf.refuse(kOriginalContext, "a whole number from 1 to 16777216", given);
  return static_cast<int64_t>(given);
}

void read_scaling(HfConfig& hf, const ordered_json& rope, ModelConfig& c) {
  const ordered_json& type =
      rope.contains("rope_type") ? rope["rope_type"] : rope.value("type", ordered_json("default"));
  RopeConfig& r = c.rope;
  bool known = false;
  for (const auto& [name, scaling] : kScalings)
    if (type == name) r.scaling = scaling, known = true;
  if (!known) hf.refuse("rope_type", "one of default, linear, dynamic, llama3, yarn", type);
  if (r.scaling == RopeScaling::kNone) return;
  r.factor = number_in(hf, rope, "factor", 0.0);
  const ordered_json& above = hf.at(kOriginalContext);
  if (r.scaling == RopeScaling::kLlama3 || r.scaling == RopeScaling::kYarn)
    r.original_context =
        original_context(hf, rope, above.is_number() ? above.get<double>() : static_cast<double>(c.context));
  if (r.factor == 0.0 && r.scaling == RopeScaling::kYarn)
    r.factor = static_cast<double>(c.context) / static_cast<double>(r.original_context);
  if (r.scaling == RopeScaling::kLlama3) {
    r.low_freq_factor = number_in(hf, rope, "low_freq_factor", r.low_freq_factor);
    r.high_freq_factor = number_in(hf, rope, "high_freq_factor", r.high_freq_factor);
  }
  if (r.scaling != RopeScaling::kYarn) return;
  r.beta_fast = number_in(hf, rope, "beta_fast", r.beta_fast);
  r.beta_slow = number_in(hf, rope, "beta_slow", r.beta_slow);
  r.truncate = flag_in(hf, rope, "truncate", true);
  r.attention_factor = number_in(hf, rope, "attention_factor", 0.0);
  const double mscale = number_in(hf, rope, "mscale", 0.0), all = number_in(hf, rope, "mscale_all_dim", 0.0);
  if (r.attention_factor == 0.0 && mscale > 0 && all > 0) {
    const double log = r.factor > 1 ? 0.1 * std::log(r.factor) : 0.0;
    r.attention_factor = (mscale * log + 1.0) / (all * log + 1.0);
  }
}

ordered_json scaling_json(const RopeConfig& r) {
  ordered_json rope;
  for (const auto& [name, scaling] : kScalings)
    if (scaling == r.scaling) rope["rope_type"] = name;
  rope["factor"] = r.factor;
  if (r.original_context > 0) rope["original_max_position_embeddings"] = r.original_context;
  if (r.scaling == RopeScaling::kLlama3) {
    rope["low_freq_factor"] = r.low_freq_factor;
    rope["high_freq_factor"] = r.high_freq_factor;
  }
  if (r.scaling == RopeScaling::kYarn) {
    rope["beta_fast"] = r.beta_fast;
    rope["beta_slow"] = r.beta_slow;
    if (!r.truncate) rope["truncate"] = false;
    if (r.attention_factor > 0) rope["attention_factor"] = r.attention_factor;
  }
  return rope;
}

}  // namespace

void rope_settings(HfConfig& hf, ModelConfig& c, double usual_theta, double usual_part, const char* theta_key,
                   const char* part_key) {
  RopeConfig& r = c.rope;
  if (hf.writes()) {
    hf.set(theta_key, r.theta);
    if (r.part != usual_part || usual_part != 1.0) hf.set(part_key, r.part);
    hf.set("rope_scaling", r.scaling == RopeScaling::kNone ? ordered_json(nullptr) : scaling_json(r));
    return;
  }
  c.positions = Positions::kRotary;
  r = RopeConfig();
  hf(theta_key, r.theta, usual_theta);
  hf(part_key, r.part, usual_part);
  for (const char* key : {"rope_scaling", "rope_parameters"}) {
    const ordered_json& object = hf.at(key);
    if (object.is_null()) continue;
    if (!object.is_object()) hf.refuse(key, "an object", object);
    for (const auto& [name, value] : object.items())
      if (value.is_object()) hf.refuse(key, "one set of settings for all layers", object);
    r.theta = number_in(hf, object, "rope_theta", r.theta);
    r.part = number_in(hf, object, "partial_rotary_factor", r.part);
    read_scaling(hf, object, c);
  }
}

}  // namespace troupe
