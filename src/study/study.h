// A study: several models trained on the same tokens in the same order, evaluated in and out of domain, compared.
//
//   OUT/data/             tokenizer and shards (study_data.h)
//   OUT/plan.json         tokens per model, decided once by a probe of the machine
//   OUT/NAME/             the run of each model (train/pretrain.h) and its evaluation.json; with study.seeds
//   OUT/NAME/seed-S/      one for each seed
//   OUT/summary.json      every figure of the table, for programs
//   OUT/report.html       the same for people, with loss curves, expert load and samples
//
// Everything finished is reused when the study is run again, and an interrupted one goes on.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "study/model_evaluation.h"
#include "study/result.h"
#include "study/study_config.h"
#include "train/trainer.h"

namespace troupe {

struct StudyResult {
  StudyConfig config;
  int64_t planned_tokens = 0;                     // of each model; below config.tokens on a slow machine
  std::vector<std::vector<ModelResult>> by_seed;  // [seed][model], in the order of the configuration
  std::vector<Comparison> comparisons;            // of the models of the first seed

  const std::vector<ModelResult>& models() const { return by_seed.front(); }
};

// A model of study.models as its file says, without the study's data, tokens and seed.
struct StudyModel {
  std::string name, path;
  RunConfig config;
};
std::vector<StudyModel> read_models(const StudyConfig& config);

struct StudyEvents {
  std::function<void(const std::string& model, const StepStats&, int64_t steps, double seconds)> step;
  EvaluationProgress evaluation;
  std::function<bool()> interrupted;
};

// A study of several ranks: every training and evaluation is of all together, and all make the same call. The first does
// all else and alone has the result; the others' is empty.
//
// `config` has passed check(), `models` are its. Throws kUsage if OUT holds runs with other settings, kInterrupted when
// events.interrupted() was true (the newest checkpoint is written), and whatever the stages throw. `measure_peak` as in
// train/pretrain.h.
StudyResult run_study(const StudyConfig& config, const std::vector<StudyModel>& models,
                      const std::filesystem::path& out, const std::function<double()>& measure_peak,
                      const StudyEvents& events, Communicator* ranks = nullptr);

}  // namespace troupe
