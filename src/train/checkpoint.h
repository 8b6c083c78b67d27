// What a run needs to go on: CHECKPOINT/{config.json, model.safetensors, tokenizer.json} as in a model directory, plus
// optimizer.safetensors (moments) and train_state.json (docs/formats/checkpoint.md). So a checkpoint is also a model.
#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "io/checkpoint_directory.h"
#include "train/metrics.h"
#include "train/run_config.h"
#include "train/trainer.h"

namespace troupe {

inline constexpr const char* kTrainStateFile = "train_state.json";
// .safetensors, or parts with an index.
inline constexpr const char* kMomentsStem = "optimizer";

// The data that a run reads, by content: resuming on other data would repeat or skip.
struct DatasetIdentity {
  std::string name, checksum;
  int64_t tokens = 0;  // 0: a model, which has none
  double weight = 0.0;
  std::string_view key = {};  // of the configuration that names it: for messages, not saved

  bool has_content_of(const DatasetIdentity& other) const {
    return name == other.name && checksum == other.checksum && tokens == other.tokens;
  }

  template <class V>
  void fields(V& v) {
    v("name", name), v("xxh3", checksum), v.count("tokens", tokens), v("weight", weight);
  }
};

// Everything beside parameters and moments. Random numbers need no state: they are functions of (seed, step).
struct TrainState {
  RunConfig config;
  std::vector<DatasetIdentity> data;
  int64_t step = 0;            // updates done
  int64_t validated_step = -1;  // of the last validation; -1: none yet
  int64_t sampled_step = -1;    // of the last samples
  struct Best {
    int64_t step = -1;  // of the best validation after an update; -1: none yet
    double nll = 0.0;   // by train.best_by
    int64_t since = 0;  // validations after it

    template <class V>
    void fields(V& v) {
      v("step", step), v("nll", nll), v.count("since", since);
    }
  } best;
  RunTotals totals;
  MetricsInterval interval;

  void add(const StepStats& stats, double seconds) {
    step = stats.step;
    totals.tokens += stats.loss.tokens;
    totals.seconds += seconds;
    interval.add(stats, seconds);
  }
};

nlohmann::ordered_json to_json(const TrainState& state);  // as in kTrainStateFile

// Where ranks share the model, all call it and each writes a part; which plays no part when it is read. In the
// background: checkpoint_save.h.
Checkpoint save_checkpoint(const std::filesystem::path& root, const TrainState& state, Trainer& trainer,
                           const std::filesystem::path& tokenizer_json);

// Reads the state alone. Throws kData naming file and field.
TrainState load_train_state(const Checkpoint& checkpoint);
// Tokens that the model in this folder was trained on, if the folder says so (train_state.json). Throws kData for a
// file that cannot be read.
std::optional<int64_t> trained_tokens(const std::filesystem::path& model_folder);
// The adapters of a checkpoint, or of its copy. Throws kData for one that is missing, of another shape or not finite.
void load_adapters(const std::filesystem::path& folder, ParameterStore<float>& values);
// Fills parameters, moments and step counters of a trainer of the same model; if it trains adapters those, on the
// weights that it was made with.
void load_trainer(const Checkpoint& checkpoint, const TrainState& state, Trainer& trainer);

// Throws kUsage if going on from `saved` with `config` and `data` would not continue the same run (model, seed, batch,
// data). Returns a line for every other setting that differs.
std::vector<std::string> check_resume(const TrainState& saved, const RunConfig& config,
                                      const std::vector<DatasetIdentity>& data, const std::string& where);

}  // namespace troupe
