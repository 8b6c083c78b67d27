#include "study/token_plan.h"

#include <algorithm>
#include <optional>

#include "base/error.h"
#include "base/log.h"
#include "base/median.h"
#include "io/json_fields.h"
#include "io/json_file.h"

namespace troupe {
namespace {

constexpr double kProbeSeconds = 1.3;  // of one model in one round
constexpr size_t kFewestRounds = 3, kMostRounds = 7;
constexpr double kSteady = 1.25;      // the slowest round over the fastest
constexpr double kProbeMargin = 0.9;  // a probe runs cooler and undisturbed
constexpr int64_t kFewestUpdates = 20;

// What a plan depends on.
struct Asked {
  int64_t tokens = 0;
  double max_minutes = 0.0;
  std::optional<int64_t> seeds;  // several

  bool operator==(const Asked&) const = default;
  template <class V>
  void fields(V& v) {
    v.count("tokens", tokens), v("max_minutes", max_minutes), v.unless_empty("seeds", seeds);
  }
};

// plan.json.
struct TokenPlan {
  Asked asked;
  int64_t tokens = 0;
  nlohmann::json tokens_per_s = nlohmann::json::object();  // of each model, for people

  template <class V>
  void fields(V& v) {
    v("asked", asked), v.count("tokens", tokens), v.may_lack("tokens_per_s", tokens_per_s);
  }
};

std::optional<TokenPlan> read_plan(const std::filesystem::path& file) {
  if (!std::filesystem::exists(file)) return std::nullopt;
  TokenPlan plan;
  read_json_fields(read_json_file(file), file.string(), plan);
  if (plan.tokens < 1)
    fail(ErrorCode::kData, "{}: tokens: expected a number of at least 1, got {}", file.string(), plan.tokens);
  return plan;
}

// Tokens per second of each model: the median of rounds in which all are measured in turns, since other programs come
// and go. Where rounds differ there are more of them.
std::vector<double> probed_rates(const std::vector<std::string>& models, const MeasureSpeed& speed) {
  log::info("probe: a few training steps of each model, in {} rounds or more", kFewestRounds);
  std::vector<std::vector<double>> rates(models.size());
  std::vector<double> round_times;  // of a token of every model
  double ratio = 1.0;
  while (round_times.size() < kFewestRounds || (ratio > kSteady && round_times.size() < kMostRounds)) {
    double time = 0.0;
    for (size_t m = 0; m < models.size(); ++m) {
      rates[m].push_back(speed(m, kProbeSeconds));
      time += 1.0 / rates[m].back();
    }
    round_times.push_back(time);
    const auto [fastest, slowest] = std::minmax_element(round_times.begin(), round_times.end());
    ratio = *slowest / *fastest;
  }
  std::vector<double> medians;
  for (size_t m = 0; m < models.size(); ++m) {
    medians.push_back(median(rates[m]));
    log::info("probe: {}: {:.0f} tokens/s", models[m], medians.back());
  }
  if (ratio > kSteady)
    log::info(
        "probe: the slowest of {} rounds took {:.1f} times as long as the fastest (other programs?): trainings may not "
        "take the time planned",
        round_times.size(), ratio);
  return medians;
}

}  // namespace

int64_t plan_tokens(const StudyConfig& study, const std::vector<std::string>& models, int64_t update_tokens,
                    const MeasureSpeed& speed, const std::filesystem::path& file) {
  if (study.max_minutes <= 0.0) return study.tokens;
  const auto seeds = static_cast<int64_t>(seeds_of(study).size());
  TokenPlan plan{.asked = {.tokens = study.tokens, .max_minutes = study.max_minutes, .seeds = {}},
                 .tokens = study.tokens};
  if (seeds > 1) plan.asked.seeds = seeds;
  if (const std::optional<TokenPlan> kept = read_plan(file); kept && kept->asked == plan.asked) return kept->tokens;

  const std::vector<double> rates = probed_rates(models, speed);
  double seconds_per_token = 0.0;
  for (size_t m = 0; m < models.size(); ++m) {
    plan.tokens_per_s[models[m]] = rates[m];
    seconds_per_token += static_cast<double>(seeds) / rates[m];
  }
  const auto affordable = static_cast<int64_t>(kProbeMargin * 60.0 * study.max_minutes / seconds_per_token);
  if (affordable < study.tokens) {
    plan.tokens = std::min(study.tokens, std::max(kFewestUpdates, affordable / update_tokens) * update_tokens);
    log::info(
        "This machine would need {:.0f} minutes for {} tokens per model; training on {} instead, to stay "
        "within {:.0f} minutes.",
        static_cast<double>(study.tokens) * seconds_per_token / 60.0, study.tokens, plan.tokens, study.max_minutes);
  } else {
    log::info("probe: {} tokens per model will take about {:.1f} minutes", plan.tokens,
              static_cast<double>(plan.tokens) * seconds_per_token / 60.0);
  }
  write_json_file(file, json_of(plan));
  return plan.tokens;
}

}  // namespace troupe
