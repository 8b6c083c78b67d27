// The configuration file of a training run: a recipe, and tables [model], [train] and [data].
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "io/fields.h"
#include "model/precision_choice.h"
#include "train/finetune_config.h"
#include "train/optimizer.h"
#include "train/recipes.h"
#include "train/schedule.h"
#include "troupe/config.h"
#include "troupe/fields.h"
#include "troupe/path_fields.h"

namespace troupe {

struct SamplesConfig {
  int64_t every = 0;
  std::vector<std::string> prompts;
  int64_t tokens = 60;
  double temperature = 0.8;
  int64_t seed = 1;

  template <class V>
  void fields(V& v) {
    v("every", every, range(0, 1e12), "updates between samples, which also come after the last; 0: none");
    v("prompts", prompts, Sentences{}, "texts that the model continues; \"\" begins a document");
    v("tokens", tokens, range(1, 1 << 24), "most tokens of a continuation");
    v("temperature", temperature, range(0, 1000), "0 takes the most probable token");
    v("seed", seed, range(0, 1e15), "same seed and same model, same text");
  }
};

struct TasksConfig {
  std::vector<std::string> names;
  std::string data_dir;
  int64_t shots = 0;
  int64_t limit = 0;

  template <class V>
  void fields(V& v) {
    v("names", names, Paths::kToml, "evaluation tasks at every validation: built-in ones or files FILE.toml");
    v("data_dir", data_dir, Paths::kPlain, "folder of their data, as in `troupe eval tasks --data-dir`");
    v("shots", shots, range(0, 1e6), "examples in front of each item, drawn once");
    v("limit", limit, range(0, 1e12), "only the first items of each group of a task; 0: all");
  }
};

struct TrainConfig {
  int64_t seed = 1;
  int64_t steps = 0;
  int64_t tokens = 0;
  int64_t batch_sequences = 32;
  int64_t micro_sequences = 0;
  PrecisionChoice precision = PrecisionChoice::kAuto;
  bool recompute = false;
  double clip_norm = 0.0;
  double z_loss = 0.0;
  ExpertGradients expert_gradients = ExpertGradients::kSum;
  ScheduleConfig schedule;
  AdamConfig adam;
  OptimizerConfig optimizer;
  MuonConfig muon;
  int64_t log_every = 10;
  int64_t valid_every = 0;
  int64_t valid_tokens = 0;
  bool valid_at_start = false;
  bool keep_best = false;
  std::string best_by;
  int64_t patience = 0;
  int64_t checkpoint_every = 500;
  bool checkpoint_in_background = true;
  int64_t keep_last = 2;
  SamplesConfig samples;
  TasksConfig tasks;

  template <class V>
  void fields(V& v) {
    v("seed", seed, range(0, 1e15), "of initialisation, order of the data, dropout and random routing");
    v("steps", steps, range(0, 1e12), "optimizer updates of the run");
    v("tokens", tokens, range(0, 1e15), "the same in tokens, rounded up to whole updates; give one of the two");
    v("batch_sequences", batch_sequences, range(1, 1 << 24), "sequences per update");
    v("micro_sequences", micro_sequences, range(0, 1 << 24),
      "sequences in memory at a time, gradients are accumulated over them; 0 means all");
    v("precision", precision, any_value(),
      "bf16: inputs of matrix products only; auto: bf16 on a GPU, and if the CPU has it");
    v("recompute", recompute, any_value(), "keep only layer inputs and compute the rest again in the backward pass");
    v("clip_norm", clip_norm, range(0, 1e9), "largest L2 norm of the whole gradient; 0 measures without clipping");
    v("z_loss", z_loss, range(0, 1e6),
      "weight per token of (log of the sum of exp(logits))^2, which keeps logits small; 0: none");
    v("expert_gradients", expert_gradients, any_value(),
      "of several ranks: sums as everything else, or fairseq's sqrt_world_size: times the root of the number of ranks, or "
      "of experts if that is less");
    v("schedule", schedule);
    v("adam", adam);
    v("optimizer", optimizer);
    v("muon", muon);
    v("log_every", log_every, range(1, 1e12), "updates between two lines of metrics.jsonl");
    v("valid_every", valid_every, range(0, 1e12),
      "updates between validations; 0 validates after the last update only");
    v("valid_tokens", valid_tokens, range(0, 1e15),
      "tokens of each validation set, cut at a document; 0 means all of it");
    v("valid_at_start", valid_at_start, any_value(), "validate before the first update, too");
    v("keep_best", keep_best, any_value(), "keep the model of the best validation in the folder best of the run");
    v("best_by", best_by, any_value(),
      "validation set whose nats per token say which validation is best; empty: the mean over all sets");
    v("patience", patience, range(0, 1e12),
      "validations in a row that are not better than the best after which the run ends; 0: never");
    v("checkpoint_every", checkpoint_every, range(0, 1e12),
      "updates between checkpoints; 0 writes one at the end only");
    v("checkpoint_in_background", checkpoint_in_background, any_value(),
      "go on with a copy being written, where there is memory for one (12 bytes per parameter, 8 with moments in bf16); else training waits");
    v("keep_last", keep_last, range(1, 1e6), "checkpoints that are kept");
    v("samples", samples);
    v("tasks", tasks);
  }
};

// What a packed sequence's tokens see: all that stands before them, or their own text alone.
enum class PackedAttention { kSequence, kDocument };
template <>
struct EnumNames<PackedAttention> {
  static constexpr std::array<std::pair<std::string_view, PackedAttention>, 2> values = {
      {{"sequence", PackedAttention::kSequence}, {"document", PackedAttention::kDocument}}};
};

struct DataConfig {
  std::vector<std::string> train;
  std::vector<std::string> weights;
  std::vector<std::string> valid;
  PackedAttention attention = PackedAttention::kSequence;
  bool any_tokenizer = false;
  bool verify = true;

  template <class V>
  void fields(V& v) {
    v("train", train, Paths::kNamed, "datasets (folders from `troupe encode`), \"NAME=FOLDER\" or \"FOLDER\"");
    v("weights", weights, any_value(), "\"NAME=SHARE\" for every dataset; none: each in proportion to its size");
    v("valid", valid, Paths::kNamed, "validation datasets, written like train");
    v("attention", attention, any_value(),
      "what tokens of a training sequence see: the sequence, or document: their own text alone, whose positions start "
      "anew");
    v("any_tokenizer", any_tokenizer, any_value(),
      "validate on data of another tokenizer, too, though its ids mean other tokens; and take a dataset's "
      "tokenizer.json "
      "that is not the one of its shards");
    v("verify", verify, any_value(), "read all data and check its checksums before training");
  }
};

struct RunConfig {
  Recipe recipe = Recipe::kNone;
  ModelConfig model;
  TrainConfig train;
  DataConfig data;
  std::optional<FinetuneConfig> finetune;  // of a run of `troupe finetune`: other runs have no such table

  template <class V>
  void fields(V& v) {
    v("recipe", recipe, any_value(), "gives keys of [model] and [train] values that the file may change");
    v("model", model);
    v("train", train);
    v("data", data);
    if (finetune) v("finetune", *finetune);
  }
};

// All keys that a file of `troupe finetune` may have.
inline RunConfig finetune_keys() {
  RunConfig config;
  config.finetune.emplace();
  return config;
}

// differences() of two runs' settings, but for those that decide no result: what is seen or kept of a run while it goes
// on, where its data lie (which have a checksum), and the name of a recipe, whose values stand for themselves.
std::vector<std::string> differences_of_results(const FieldList& a, const FieldList& b, std::string_view name_a,
                                                std::string_view name_b);

// Reads a file as read_config() (io/toml_config.h), after the recipe that it or an override names.
void read_run_config(const std::filesystem::path& path, const std::vector<std::string>& overrides, FieldList& fields);
RunConfig load_run_config(const std::filesystem::path& path, const std::vector<std::string>& overrides = {});

// Sequences of one forward and backward pass.
inline int64_t micro_batch(const TrainConfig& train) {
  return train.micro_sequences > 0 ? train.micro_sequences : train.batch_sequences;
}

// Rules across fields; throws kUsage naming `where` and the field. check() asks for what a run cannot do without, too:
// a length and data, which the file of a model that is part of a study lacks.
void check_rules(const RunConfig& config, const std::string& where);
void check(const RunConfig& config, const std::string& where);

// Of "NAME=SHARE" by the name; throws kUsage "WHERE: ...".
std::map<std::string, double> read_weights(const std::vector<std::string>& list, const std::string& where);

// Updates of the run, from train.steps or train.tokens.
int64_t num_steps(const RunConfig& config);

// "NAME=SHARE"; the name may hold a "=" itself. Without one all is the share.
struct NamedEntry {
  std::string name, value;
};
NamedEntry parse_named(const std::string& text);

}  // namespace troupe
