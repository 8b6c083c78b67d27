#include "train/checkpoint.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <sstream>

#include "base/error.h"
#include "io/json_config.h"
#include "io/json_fields.h"
#include "io/json_file.h"
#include "io/tokenizer_files.h"
#include "model/model_directory.h"
#include "ops/adam.h"
#include "ops/route/losses.h"
#include "ops/transfer.h"

namespace troupe {
namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

constexpr const char* kFormat = "troupe.train_state/1";

// Of whichever type the file has them: to bf16 they are rounded to the nearest.
template <class T>
void read(const ModelTensors& tensors, const std::string& prefix, ParameterStore<T>& store,
          const char* what = "moments") {
  Buffer<float> widened;
  for (const Parameter& parameter : store.entries()) {
    const std::span<T> values = store.at(parameter.slot);
    from_host(values, [&](std::span<T> room) {
      if constexpr (std::is_same_v<T, float>) {
        tensors.read_f32(prefix + parameter.name, parameter.shape, room);
      } else {
        widened.reserve(parameter.size());
        const std::span<float> read = widened.span().first(room.size());
        tensors.read_f32(prefix + parameter.name, parameter.shape, read);
        std::ranges::transform(read, room.begin(), [](float value) { return T(value); });
      }
    });
    if (const int64_t at = find_non_finite<T>(values, store.memory().device()); at >= 0)
      fail(ErrorCode::kData, "{}: {}{}: expected finite {}, got {} at index {}", tensors.where(), prefix,
           parameter.name, what, static_cast<float>(to_host<T>(values, at)), at);
  }
}

// train_state.json (docs/formats/checkpoint.md).
struct RouterState {
  int64_t layer = 0, tokens = 0, aux_tokens = 0;
  std::vector<int64_t> load_E, dropped_K;
  double entropy_sum = 0, aux = 0, z = 0;

  template <class V>
  void fields(V& v) {
    v.count("layer", layer), v.count("tokens", tokens), v("load", load_E), v("dropped", dropped_K);
    v("entropy_sum", entropy_sum), v("aux", aux), v.may_lack("z", z);
    v.count("aux_tokens", aux_tokens);
  }
};

struct IntervalState {
  LossSum loss;
  double seconds = 0;
  std::vector<RouterState> routers;

  template <class V>
  void fields(V& v) {
    v("nll", loss.nll), v("aux", loss.aux), v.may_lack("z", loss.z), v.may_lack("divergence", loss.divergence);
    v("total", loss.total);
    v.count("tokens", loss.tokens);
    v.count("choices", loss.choices), v.count("dropped", loss.dropped), v("seconds", seconds), v("routers", routers);
  }
};

struct StateFile {
  int64_t step = 0, validated_step = -1, sampled_step = -1;  // older versions took no samples and knew no best
  TrainState::Best best;
  RunTotals totals;
  IntervalState interval;
  std::vector<DatasetIdentity> data;
  nlohmann::json config;

  template <class V>
  void fields(V& v) {
    v.constant("format", kFormat);
    v.count("step", step), v("validated_step", validated_step), v.may_lack("sampled_step", sampled_step);
    v.may_lack("best", best), v.count("tokens", totals.tokens), v("time_s", totals.seconds);
    v("interval", interval), v("data", data), v("config", config);
  }
};

IntervalState state_of(const MetricsInterval& interval) {
  IntervalState state{.loss = interval.loss, .seconds = interval.seconds, .routers = {}};
  for (const RouterStats& stats : interval.routers)
    state.routers.push_back({.layer = stats.layer,
                             .tokens = stats.tokens,
                             .aux_tokens = stats.loss_tokens,
                             .load_E = stats.load_E,
                             .dropped_K = stats.dropped_K,
                             .entropy_sum = stats.entropy_sum,
                             .aux = stats.loss(kBalanceLoss),
                             .z = stats.loss(kRouterZLoss)});
  return state;
}

MetricsInterval interval_of(const IntervalState& state) {
  MetricsInterval interval{.loss = state.loss, .routers = {}, .seconds = state.seconds};
  for (const RouterState& router : state.routers) {
    RouterStats& stats = interval.routers.emplace_back();
    stats.layer = router.layer, stats.tokens = router.tokens, stats.load_E = router.load_E;
    stats.dropped_K = router.dropped_K, stats.entropy_sum = router.entropy_sum;
    stats.losses.push_back({.name = kBalanceLoss, .mean = router.aux, .by_group = {}});
    stats.losses.push_back({.name = kRouterZLoss, .mean = router.z, .by_group = {}});
    stats.loss_tokens = router.aux_tokens;
  }
  return interval;
}

// Settings that decide what the run computes next; the others may change with a line that says so.
bool decides_the_run(std::string_view path) {
  return path.starts_with("model.") || path == "train.seed" || path == "train.batch_sequences" ||
         path == "train.optimizer.matrices" || path == "finetune.freeze" || path == "finetune.top_p" ||
         path.starts_with("finetune.lora.");
}

// Settings that say which data there are; they may change where the data are the same, as by another path.
bool says_which_data(std::string_view path) {
  constexpr std::string_view kOfFinetune[] = {"model", "teacher", "tasks", "data_dir", "text", "answers", "weights",
                                              "train_limit"};
  if (path.starts_with("finetune.")) return std::ranges::find(kOfFinetune, path.substr(9)) != std::end(kOfFinetune);
  return path == "data.train" || path == "data.weights";
}

std::string content_of(const DatasetIdentity& set) {
  if (set.tokens == 0) return fmt::format("{} (checksum {})", set.name, set.checksum);
  return fmt::format("{} ({} tokens, checksum {}, weight {})", set.name, set.tokens, set.checksum, set.weight);
}

// `changed`: settings that differ, as check_resume() returns them.
void check_data(const std::vector<DatasetIdentity>& saved, const std::vector<DatasetIdentity>& data, bool finetunes,
                const std::vector<std::string>& changed, const std::string& where) {
  std::vector<std::string> settings;
  for (const std::string& line : changed)
    if (says_which_data(line.substr(0, line.find(':')))) settings.push_back(line);
  const std::string hint = settings.empty() ? "" : fmt::format(" ({})", fmt::join(settings, "; "));
  if (data.size() != saved.size()) {
    const auto names = [](const std::vector<DatasetIdentity>& sets) {
      std::vector<std::string> list;
      for (const DatasetIdentity& set : sets) list.push_back(set.name);
      return fmt::format("{}", fmt::join(list, ", "));
    };
    fail(ErrorCode::kUsage, "{}: {}: expected {} as in the run to resume, got {}{}", where,
         finetunes ? "finetune" : "data.train", names(saved), names(data), hint);
  }
  const auto differs = [&](std::string_view key, size_t i) {
    fail(ErrorCode::kUsage, "{}: {}: expected {} as in the run to resume, got {}{}", where, key, content_of(saved[i]),
         content_of(data[i]), hint);
  };
  for (size_t i = 0; i < data.size(); ++i)
    if (!data[i].has_content_of(saved[i])) differs(data[i].key, i);
  for (size_t i = 0; i < data.size(); ++i)  // shares follow from content where none are given
    if (data[i].weight != saved[i].weight) differs(finetunes ? "finetune.weights" : "data.weights", i);
}

}  // namespace

ordered_json to_json(const TrainState& state) {
  ordered_json json = json_of(StateFile{.step = state.step,
                                        .validated_step = state.validated_step,
                                        .sampled_step = state.sampled_step,
                                        .best = state.best,
                                        .totals = state.totals,
                                        .interval = state_of(state.interval),
                                        .data = state.data,
                                        .config = {}});
  json["config"] = troupe::to_json(fields_of(state.config));  // in the order of its fields
  return json;
}

TrainState load_train_state(const Checkpoint& checkpoint) {
  const std::string where = (checkpoint.folder / kTrainStateFile).string();
  StateFile file;
  read_json_fields(read_json_file(where), where, file);
  TrainState state{.config = {},
                   .data = std::move(file.data),
                   .step = file.step,
                   .validated_step = file.validated_step,
                   .sampled_step = file.sampled_step,
                   .best = file.best,
                   .totals = file.totals,
                   .interval = interval_of(file.interval)};
  if (file.config.contains("finetune")) state.config.finetune.emplace();
  FieldList fields = fields_of(state.config);
  from_json(file.config, where + ": config", fields);
  return state;
}

std::optional<int64_t> trained_tokens(const fs::path& model_folder) {
  const fs::path path = model_folder / kTrainStateFile;
  if (!fs::exists(path)) return std::nullopt;
  struct Tokens {
    int64_t tokens = 0;
    void fields(JsonFieldReader& v) { v.count("tokens", tokens); }
  } file;
  read_json_fields(read_json_file(path), path.string(), file);
  return file.tokens;
}

void load_adapters(const fs::path& folder, ParameterStore<float>& values) {
  read(ModelTensors(folder, kAdapterStem), "", values, "adapters");
}

void load_trainer(const Checkpoint& checkpoint, const TrainState& state, Trainer& trainer) {
  if (trainer.adapters()) {  // the model's own weights are those that training began with
    load_adapters(checkpoint.folder, trainer.trained());
    trainer.merge_adapters();
  } else {
    load_parameters(checkpoint.folder, trainer.model().params());
  }
  const ModelTensors moments(checkpoint.folder, kMomentsStem);
  trainer.optimizer().each_moment([&](const char* prefix, auto& store) { read(moments, prefix, store); });
  trainer.optimizer().set_updates(state.step);
  trainer.set_steps_done(state.step);
}

std::vector<std::string> check_resume(const TrainState& saved, const RunConfig& config,
                                      const std::vector<DatasetIdentity>& data, const std::string& where) {
  if (saved.config.finetune.has_value() != config.finetune.has_value())
    fail(ErrorCode::kUsage, "{}: expected a run of `troupe {}` to resume, got one of `troupe {}` (start another run)",
         where, config.finetune ? "finetune" : "train", saved.config.finetune ? "finetune" : "train");
  std::vector<std::string> changed;
  const FieldList before = fields_of(saved.config), now = fields_of(config);
  for (const std::string& line : differences(before, now, "the checkpoint", "the configuration")) {
    if (decides_the_run(line.substr(0, line.find(':'))))
      fail(ErrorCode::kUsage, "{}: expected the settings of the run to resume, got {} (start another run)", where,
           line);
    changed.push_back(line);
  }
  check_data(saved.data, data, config.finetune.has_value(), changed, where);
  return changed;
}

}  // namespace troupe
