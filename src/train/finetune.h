// From a model to one that has learnt tasks, texts or answers: a recipe over Trainer::step() and a train/run_folder.h,
// as pretraining is (train/pretrain.h). A fine-tuning is one or several trainings: one for every task, rate and seed.
#pragma once

#include <filesystem>
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "train/finetune_data.h"
#include "train/pretrain.h"
#include "train/run_config.h"

namespace troupe {

// What the flags of the command say; empty: what the file says.
struct FinetuneFlags {
  std::filesystem::path config;  // may be none
  std::vector<std::string> overrides;
  std::string model, data_dir;
  std::vector<std::string> tasks;
};

// The paper's values, then the file, overrides and flags; [model] is that of the model's folder, of which dropout and
// how routing trains may change. Throws kUsage, for keys too that fine-tuning decides itself.
RunConfig load_finetune_config(const FinetuneFlags& flags);

// A figure of what is learnt, before (zero-shot, epoch 0) or after an epoch.
struct FinetuneLine {
  static constexpr const char* kSchema = "troupe.finetune/1";
  int64_t step = 0;
  std::string task, setting, split;
  int64_t epoch = 0;
  std::string metric;
  double accuracy = 0.0;  // NaN where there is none: text and answers
  double nll = 0.0;       // nats per token; NaN for tasks
  double std_error = 0.0;
  int64_t n = 0;  // items, or tokens
  double chance = 0.0;
  double lr = 0.0;
  int64_t seed = 0;

  // Smaller is better.
  double loss() const { return metric == "nll" ? nll : 1.0 - accuracy; }

  template <class V>
  void fields(V& v) {
    v.constant("schema", kSchema);
    v.count("step", step), v("task", task), v("setting", setting), v("split", split), v.count("epoch", epoch);
    v("metric", metric), v("accuracy", accuracy), v("nll", nll), v("stderr", std_error), v.count("n", n);
    v("chance", chance), v("lr", lr), v.count("seed", seed);
  }
};

// What came of a task, text or answers: of the best rate, at the epoch that is best in validation.
struct FinetuneResultLine {
  static constexpr const char* kSchema = "troupe.finetune_result/1";
  std::string task, split, chosen_by;
  std::string metric;
  double zero_shot = 0.0;
  double value = 0.0;          // mean over seeds: accuracy, or nats per token
  std::vector<double> values;  // by seed: paired with another model's of the same seeds
  double interval_half = 0.0;  // half the 95 % interval (t over seeds); NaN with one
  int64_t n = 0;
  double lr = 0.0;
  std::vector<int64_t> epochs, seeds;  // by seed
  std::string model;                   // of the best seed in validation
  std::vector<double> diverged;        // rates that did: worse than all others

  template <class V>
  void fields(V& v) {
    v.constant("schema", kSchema);
    v("task", task), v("split", split), v("chosen_by", chosen_by), v("metric", metric), v("zero_shot", zero_shot);
    v("value", value), v("values", values), v("interval_half", interval_half), v.count("n", n), v("lr", lr);
    v("epochs", epochs), v("seeds", seeds), v("model", model);
    v("diverged", diverged);
  }
};

// What the trainings of a task, or of all at once, would take.
struct FinetunePlanLine {
  static constexpr const char* kSchema = "troupe.finetune_plan/1";
  std::vector<std::string> learnt;  // tasks, text and answers
  int64_t trainings = 0, epochs = 0;
  int64_t texts = 0, tokens = 0, updates = 0;  // of one epoch of one training
  int64_t row_tokens = 0;                      // of the longest row that a batch may have
  double train_flops = 0.0;                    // of all trainings; evaluations are not counted

  template <class V>
  void fields(V& v) {
    v.constant("schema", kSchema);
    v("learnt", learnt), v.count("trainings", trainings), v.count("epochs", epochs), v.count("texts", texts);
    v.count("tokens", tokens), v.count("updates", updates), v.count("row_tokens", row_tokens);
    v("train_flops", train_flops);
  }
};

struct FinetuneOptions {
  std::filesystem::path run;
  bool resume = false;
  bool dry_run = false;  // read and check everything, plan, and train nothing

  // Share the work, as in PretrainOptions; every rank has the whole of the model while it is evaluated.
  Communicator* ranks = nullptr;
  // Before anything is trained, on all ranks: the data are read. May throw.
  std::function<void(const std::vector<FinetunePlanLine>& plan)> planned;
  // What happens meanwhile, as in PretrainOptions; `line` gets those of metrics.jsonl and the results.
  std::function<void(const StepStats& stats, int64_t steps, double seconds)> step;
  std::function<void(const nlohmann::ordered_json& line)> line;
  std::function<bool()> interrupted;
};

struct FinetuneResult {
  bool interrupted = false;
  std::vector<FinetunePlanLine> plan;
  std::vector<FinetuneResultLine> results;
};

// Trains in `run` itself if it is one training, else in run/TASK (several tasks) and lr-R-seed-S (several rates or
// seeds); the model of a task is model/ there. A rate with which loss or weights were not finite is worse than all others,
// and left. Throws as pretrain() does; kNonFinite of several rates if all diverged.
FinetuneResult finetune(const RunConfig& config, const std::string& where, const FinetuneOptions& options);

}  // namespace troupe
