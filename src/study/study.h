// A study: several models trained on the same tokens in the same order, evaluated in and out of domain, compared.
//
//   OUT/data/             tokenizer and shards (study_data.h)
//   OUT/plan.json         tokens per model, decided once by a probe of the machine
//   OUT/NAME/             the run of each model (train/pretrain.h) and its evaluation.json
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
#include "study/paired.h"
#include "study/study_config.h"
#include "train/run_config.h"
#include "train/trainer.h"

namespace troupe {

struct StudyModel {
  std::string name;
  RunConfig config;
  std::filesystem::path run;
  int64_t params = 0, active_params = 0;
  double flops_per_token = 0.0;  // of training, nothing recomputed
  int64_t tokens = 0;            // trained on
  double seconds = 0.0;          // in training steps
  ModelEvaluation evaluation;

  double train_flops() const { return flops_per_token * static_cast<double>(tokens); }
  double tokens_per_second() const { return static_cast<double>(tokens) / seconds; }
};

// One domain of one model against the baseline (the first model): negative favours the model.
struct StudyComparison {
  std::string model, baseline, domain;
  bool held_out = false;
  PairedDifference difference;  // nats per token, documents as units
};

struct StudyResult {
  StudyConfig config;
  int64_t planned_tokens = 0;  // of each model; below config.tokens on a slow machine
  std::vector<StudyModel> models;
  std::vector<StudyComparison> comparisons;
};

struct StudyEvents {
  std::function<void(const std::string&)> message;
  std::function<void(const std::string& model, const StepStats&, int64_t steps, double seconds)> step;
  EvaluationProgress evaluation;
  std::function<bool()> interrupted;
};

// `config` has passed check(). Throws kUsage if OUT holds runs with other settings, kInterrupted when
// events.interrupted() was true (the newest checkpoint is written), and whatever the stages throw. `measure_peak` as in
// train/pretrain.h.
StudyResult run_study(const StudyConfig& config, const std::filesystem::path& out,
                      const std::function<double()>& measure_peak, const StudyEvents& events);

}  // namespace troupe
