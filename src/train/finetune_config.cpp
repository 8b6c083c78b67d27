#include "train/finetune_config.h"

#include <algorithm>
#include <set>
#include <string_view>

#include "base/error.h"
#include "io/toml_config.h"
#include "model/decoder_parameters.h"
#include "model/model_directory.h"
#include "train/finetune.h"
#include "train/freeze.h"

namespace troupe {
namespace {

constexpr std::string_view kPaperValues = R"(
[model]
dropout = 0.1
[train]
keep_last = 1
[train.schedule]
kind = "polynomial"
warmup_fraction = 0.06
[train.adam]
beta1 = 0.9
beta2 = 0.98
eps = 1e-6
)";
const std::vector<double> kPaperRates = {1e-5, 3e-5, 1e-4, 3e-4};

// Facts of the model that training may change without changing what the model is.
bool may_change(std::string_view path) {
  for (const char* name : {"dropout", "attention_dropout", "moe.capacity", "moe.capacity_factor", "moe.second_choice",
                           "moe.batch_prioritized", "moe.aux_loss_weight", "moe.router_z_loss", "moe.aux_combine",
                           "moe.eval_capacity_fraction", "moe.expert_dropout", "moe.pad_mask", "moe.group_sequences",
                           "moe.input_jitter", "moe.bias_rate", "moe.balance_choices", "moe.balance_over"})
    if (path == std::string("model.") + name) return true;
  return false;
}

// Keys of a run that fine-tuning has nothing for.
bool has_no_use(std::string_view path) {
  return path == "recipe" || path == "train.tokens" || path.starts_with("data.") || path.starts_with("train.valid") ||
         path == "train.best_by" || path.starts_with("train.samples.") || path.starts_with("train.tasks.");
}

}  // namespace

RunConfig load_finetune_config(const FinetuneFlags& flags) {
  const std::string where = flags.config.empty() ? "finetune" : flags.config.string();
  const auto read = [&](FieldList& fields) {
    read_config_text(kPaperValues, "the paper", {}, fields);
    for (Field& field : fields.fields()) field.origin = "default";
    if (flags.config.empty())
      for (const std::string& text : flags.overrides) apply_override(text, fields);
    else
      read_config(flags.config, flags.overrides, fields);
    const auto set = [&](const char* key, const std::string& flag, const GivenValue& value) {
      assign(*fields.find(key), value, ErrorCode::kUsage, flag);
    };
    if (!flags.model.empty()) set("finetune.model", "--model", {.value = flags.model, .text = flags.model});
    if (!flags.data_dir.empty())
      set("finetune.data_dir", "--data-dir", {.value = flags.data_dir, .text = flags.data_dir});
    if (!flags.tasks.empty()) set("finetune.tasks", "--task", {.value = flags.tasks, .text = "a list"});
  };
  RunConfig asked = finetune_keys();
  FieldList of_asked = fields_of(asked);
  read(of_asked);
  if (asked.finetune->model.empty())
    fail(ErrorCode::kUsage, "{}: finetune.model: expected the folder of a model (--model), got none", where);

  RunConfig config = finetune_keys();
  config.model = read_model_config(find_model(asked.finetune->model));
  const RunConfig of_folder = config;
  FieldList fields = fields_of(config);
  read(fields);
  const FieldList before = fields_of(of_folder), usual = fields_of(finetune_keys());
  for (size_t i = 0; i < fields.fields().size(); ++i) {
    const Field& field = fields.fields()[i];
    if (field.path.starts_with("model.") && !may_change(field.path) &&
        value_text(field) != value_text(before.fields()[i]))
      fail(ErrorCode::kUsage, "{}: {}: expected {}, as {} says, got {}", field.origin, field.path,
           value_text(before.fields()[i]), asked.finetune->model, value_text(field));
    if (has_no_use(field.path) && field.origin != "default" && value_text(field) != value_text(usual.fields()[i]))
      fail(ErrorCode::kUsage,
           "{}: {}: expected none in fine-tuning, got {} ([finetune] has the epochs, rates, seeds, batch and data)",
           field.origin, field.path, value_text(field));
  }
  FinetuneConfig& finetune = *config.finetune;
  if (finetune.sweep) {
    if (fields.find("finetune.lr")->origin != "default")
      fail(ErrorCode::kUsage, "{}: finetune.sweep: expected false beside finetune.lr, got true", where);
    finetune.lr = kPaperRates;
  }
  const auto once = [&](const char* key, const auto& list) {
    if (list.empty()) fail(ErrorCode::kUsage, "{}: finetune.{}: expected at least one, got none", where, key);
    if (std::set(list.begin(), list.end()).size() != list.size())
      fail(ErrorCode::kUsage, "{}: finetune.{}: expected each once, got one twice", where, key);
  };
  once("lr", finetune.lr), once("seeds", finetune.seeds);
  if (finetune.tasks.empty() && finetune.text.empty() && finetune.answers.empty())
    fail(ErrorCode::kUsage, "{}: finetune.tasks: expected tasks (--task), text or answers to learn, got none", where);
  if (!finetune.tasks.empty()) once("tasks", finetune.tasks);
  if (!finetune.tasks.empty() && finetune.data_dir.empty())
    fail(ErrorCode::kUsage, "{}: finetune.data_dir: expected the folder of the tasks' data (--data-dir), got none",
         where);
  if (config.model.eos_id < 0)
    fail(ErrorCode::kUsage, "{}: expected a model with an end-of-text token (model.eos_id), got none", finetune.model);
  const auto needs = [&](bool is_there, std::string_view what, const std::vector<std::string_view>& keys) {
    for (size_t i = 0; i < fields.fields().size() && !is_there; ++i) {
      const Field& field = fields.fields()[i];
      if (std::ranges::find(keys, field.path) != keys.end() && value_text(field) != value_text(usual.fields()[i]))
        fail(ErrorCode::kUsage, "{}: {}: expected {} beside it, without which it does nothing, got {}", where,
             field.path, what, value_text(field));
    }
  };
  needs(!finetune.teacher.empty(), "finetune.teacher",
        {"finetune.teacher_alpha", "finetune.teacher_temperature"});
  needs(finetune.lora.is_used(), "a finetune.lora.rank",
        {"finetune.lora.alpha", "finetune.lora.dropout", "finetune.lora.targets"});
  needs(finetune.freeze == Freeze::kAllButChosenExperts, "finetune.freeze = all_but_chosen_experts",
        {"finetune.top_p"});
  const ParameterTable table = make_parameter_table(config.model);
  check_freeze(finetune.freeze, table, where);
  if (finetune.lora.is_used()) {
    check_lora(finetune.lora, table, where);
    if (finetune.freeze != Freeze::kNothing)
      fail(ErrorCode::kUsage,
           "{}: finetune.freeze: expected nothing beside finetune.lora, which trains adapters alone, got {}", where,
           name_of_enum(finetune.freeze));
    if (config.train.optimizer.matrices != MatrixOptimizer::kAdam)
      fail(ErrorCode::kUsage, "{}: train.optimizer.matrices: expected adam beside finetune.lora, got {}", where,
           name_of_enum(config.train.optimizer.matrices));
  }
  RunConfig checked = config;
  checked.train.steps = 1000;  // their number is known with the data
  checked.train.batch_sequences = finetune.batch_sequences;
  check_rules(checked, where);
  return config;
}

}  // namespace troupe
