#include "train/checkpoint.h"

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "io/json_config.h"
#include "io/json_file.h"
#include "io/json_text.h"
#include "model/model_directory.h"
#include "ops/adam.h"
#include "ops/transfer.h"

namespace troupe {
namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

constexpr const char* kFormat = "troupe.train_state/1";
constexpr const char* kMoments = "optimizer";  // .safetensors, or parts with an index

void append(std::vector<TensorToWrite>& list, const std::string& prefix, const ParameterStore<float>& moments) {
  for (TensorToWrite& tensor : tensors_of(moments)) {
    tensor.name = prefix + tensor.name;
    list.push_back(std::move(tensor));
  }
}

void read(const ModelTensors& tensors, const std::string& prefix, ParameterStore<float>& store) {
  for (const Parameter& parameter : store.entries()) {
    const std::span<float> values = store.at(parameter.slot);
    from_host(values,
              [&](std::span<float> room) { tensors.read_f32(prefix + parameter.name, parameter.shape, room); });
    if (const int64_t at = find_non_finite<float>(values); at >= 0)
      fail(ErrorCode::kData, "{}: {}{}: expected finite moments, got {} at index {}", tensors.where(), prefix,
           parameter.name, to_host<float>(values, at), at);
  }
}

ordered_json to_json(const TrainState& state) {
  ordered_json data = ordered_json::array();
  for (const DatasetIdentity& one : state.data)
    data.push_back({{"name", one.name}, {"xxh3", one.checksum}, {"tokens", one.tokens}, {"weight", one.weight}});
  return {{"format", kFormat},
          {"step", state.step},
          {"validated_step", state.validated_step},
          {"sampled_step", state.sampled_step},
          {"best", {{"step", state.best.step}, {"nll", state.best.nll}, {"since", state.best.since}}},
          {"tokens", state.totals.tokens},
          {"time_s", state.totals.seconds},
          {"interval", state.interval.to_json()},
          {"data", data},
          {"config", troupe::to_json(fields_of(state.config))}};
}

TrainState state_from_json(const nlohmann::json& object, const std::string& where) {
  TrainState state;
  if (object.at("format") != kFormat)
    fail(ErrorCode::kData, "{}: format: expected {}, got {}", where, kFormat, json_excerpt(object.at("format")));
  state.step = object.at("step");
  state.validated_step = object.at("validated_step");
  state.sampled_step = object.value("sampled_step", int64_t{-1});  // older versions took no samples and knew no best
  if (const auto best = object.find("best"); best != object.end())
    state.best = {.step = best->at("step"), .nll = best->at("nll"), .since = best->at("since")};
  state.totals = {.tokens = object.at("tokens"), .seconds = object.at("time_s")};
  state.interval = MetricsInterval::from_json(object.at("interval"));
  for (const nlohmann::json& one : object.at("data"))
    state.data.push_back(
        {.name = one.at("name"), .checksum = one.at("xxh3"), .tokens = one.at("tokens"), .weight = one.at("weight")});
  FieldList fields = fields_of(state.config);
  from_json(object.at("config"), where + ": config", fields);
  return state;
}

// Settings that decide what the run computes next; the others may change with a line that says so.
bool decides_the_run(std::string_view path) {
  return path.starts_with("model.") || path == "train.seed" || path == "train.batch_sequences";
}

}  // namespace

Checkpoint save_checkpoint(const fs::path& root, const TrainState& state, Trainer& trainer,
                           const fs::path& tokenizer_json) {
  std::vector<TensorToWrite> moments;
  append(moments, "m.", trainer.optimizer().first_moment());
  append(moments, "v.", trainer.optimizer().second_moment());
  CheckpointWriter writer(root, state.step);
  const LanguageModel& model = trainer.model();
  writer.add_file("config.json", [&](FileWriter& file) { file.write(config_json(model.config())); });
  writer.add_tensors("model.safetensors", tensors_of(model.params()));
  if (fs::exists(tokenizer_json))
    writer.add_file("tokenizer.json", [&](FileWriter& file) { file.write(read_file(tokenizer_json)); });
  writer.add_tensors(std::string(kMoments) + ".safetensors", moments);
  writer.add_json(kTrainStateFile, to_json(state));
  return writer.commit();
}

TrainState load_train_state(const Checkpoint& checkpoint) {
  const fs::path path = checkpoint.folder / kTrainStateFile;
  const nlohmann::json object = read_json_file(path);
  try {
    return state_from_json(object, path.string());
  } catch (const nlohmann::json::exception& error) {
    fail(ErrorCode::kData, "{}: expected a training state, got: {}", path.string(), error.what());
  }
}

std::optional<int64_t> trained_tokens(const fs::path& model_folder) {
  const fs::path path = model_folder / kTrainStateFile;
  if (!fs::exists(path)) return std::nullopt;
  const nlohmann::json object = read_json_file(path);
  const auto tokens = object.is_object() ? object.find("tokens") : object.end();
  if (tokens == object.end() || !tokens->is_number_unsigned())
    fail(ErrorCode::kData, "{}: tokens: expected a whole number, got {}", path.string(),
         tokens == object.end() ? "no such key" : json_excerpt(*tokens));
  return tokens->get<int64_t>();
}

void load_trainer(const Checkpoint& checkpoint, const TrainState& state, Trainer& trainer) {
  load_parameters(checkpoint.folder, trainer.model().params());
  const ModelTensors moments(checkpoint.folder, kMoments);
  read(moments, "m.", trainer.optimizer().first_moment());
  read(moments, "v.", trainer.optimizer().second_moment());
  trainer.optimizer().set_updates(state.step);
  trainer.set_steps_done(state.step);
}

std::vector<std::string> check_resume(const TrainState& saved, const RunConfig& config,
                                      const std::vector<DatasetIdentity>& data, const std::string& where) {
  std::vector<std::string> changed;
  const FieldList before = fields_of(saved.config), now = fields_of(config);
  for (const std::string& line : differences(before, now, "the checkpoint", "the configuration")) {
    if (decides_the_run(line.substr(0, line.find(':'))))
      fail(ErrorCode::kUsage, "{}: expected the settings of the run to resume, got {} (start another run)", where,
           line);
    changed.push_back(line);
  }
  if (data.size() != saved.data.size())
    fail(ErrorCode::kUsage, "{}: data.train: expected the {} datasets of the run to resume, got {}", where,
         saved.data.size(), data.size());
  for (size_t i = 0; i < data.size(); ++i)
    if (data[i] != saved.data[i])
      fail(ErrorCode::kUsage,
           "{}: data.train: expected {} ({} tokens, checksum {}, weight {}) as in the run to resume, got {} ({}, {}, "
           "{})",
           where, saved.data[i].name, saved.data[i].tokens, saved.data[i].checksum, saved.data[i].weight, data[i].name,
           data[i].tokens, data[i].checksum, data[i].weight);
  return changed;
}

}  // namespace troupe
