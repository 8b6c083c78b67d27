#include "train/run_config.h"

#include <algorithm>
#include <charconv>
#include <set>

#include "base/checked.h"
#include "base/error.h"
#include "io/named_path.h"
#include "io/toml_config.h"
#include "model/decoder_parameters.h"

namespace troupe {

namespace {

constexpr double kLeastWeight = 1e-9, kMostWeight = 1e9;  // sums and shares stay what they are

double parse_weight(const NamedEntry& entry, const std::string& where) {
  double weight = 0.0;
  const char* const end = entry.value.data() + entry.value.size();
  const auto [stop, error] = std::from_chars(entry.value.data(), end, weight);
  if (error != std::errc() || stop != end || !(weight > 0.0))
    fail(ErrorCode::kUsage, "{}: {}: expected a number above 0, got {}", where, entry.name,
         entry.value.empty() ? "nothing" : entry.value);
  if (!(weight >= kLeastWeight && weight <= kMostWeight))
    fail(ErrorCode::kUsage, "{}: {}: expected a number from {} to {}, got {}", where, entry.name,
         kLeastWeight, kMostWeight, entry.value);
  return weight;
}

int64_t tokens_per_step(const RunConfig& config, const std::string& where) {
  return checked_product({config.train.batch_sequences, config.model.context},
                         where + ": train.batch_sequences x model.context");
}

// Gradients that are gone after their layer's backward pass are not there to be added up, scaled or passed on.
void check_released_gradients(const RunConfig& config, const std::string& where) {
  const TrainConfig& train = config.train;
  if (!train.optimizer.release_gradients) return;
  const auto refuse = [&](const std::string& expected, const std::string& got, const char* why) {
    fail(ErrorCode::kUsage, "{}: train.optimizer.release_gradients: expected {} with it, got {} ({})", where, expected,
         got, why);
  };
  if (train.clip_norm > 0.0)
    refuse("train.clip_norm = 0", fmt::format("{}", train.clip_norm), "the norm is of all gradients at once");
  if (micro_batch(train) != train.batch_sequences)
    refuse(fmt::format("train.micro_sequences = {}, all of an update", train.batch_sequences),
           fmt::format("{}", micro_batch(train)), "gradients of several micro-batches are added up");
  if (config.finetune) refuse("`troupe train`", "`troupe finetune`", "its updates are several micro-batches");
}

// A rate of its own is of some parameters, and follows a schedule; what decays is moved by who decays it.
void check_optimizer(const RunConfig& config, const std::string& where) {
  const AdamConfig& adam = config.train.adam;
  if (config.train.optimizer.matrices == MatrixOptimizer::kMuon && adam.weight_decay > 0.0 &&
      adam.weight_decay_of == WeightDecayOf::kMatrices)
    fail(ErrorCode::kUsage,
         "{}: train.adam.weight_decay: expected 0 where Adam moves no matrices and they alone decay, got {} "
         "(train.muon.weight_decay is that of matrices that Muon moves)",
         where, adam.weight_decay);
  const GroupRates& rates = config.train.optimizer.lr;
  const ParameterTable table = make_parameter_table(config.model);
  for (const auto& [name, group] : {std::pair{"embedding", ParameterGroup::kEmbedding},
                                    {"head", ParameterGroup::kHead},
                                    {"matrices", ParameterGroup::kMatrices},
                                    {"rest", ParameterGroup::kRest}}) {
    if (rates.of(group) == 0.0) continue;
    if (std::ranges::none_of(table.families(), [&, group = group](const auto& family) {
          return group_of(family.pattern) == group;
        }))
      fail(ErrorCode::kUsage,
           "{}: train.optimizer.lr.{}: expected 0, got {} (the model has no parameters of this group)", where, name,
           rates.of(group));
    if (config.train.schedule.lr == 0.0)
      fail(ErrorCode::kUsage, "{}: train.optimizer.lr.{}: expected train.schedule.lr above 0 with it, got 0", where,
           name);
  }
}

}  // namespace

std::map<std::string, double> read_weights(const std::vector<std::string>& list, const std::string& where) {
  std::map<std::string, double> weights;
  for (const std::string& text : list) {
    const NamedEntry entry = parse_named(text);
    if (!weights.emplace(entry.name, parse_weight(entry, where)).second)
      fail(ErrorCode::kUsage, "{}: expected each dataset once, got {} twice", where, entry.name);
  }
  return weights;
}

std::vector<std::string> differences_of_results(const FieldList& a, const FieldList& b, std::string_view name_a,
                                                std::string_view name_b) {
  constexpr std::string_view kDecideNone[] = {
      "data.",       "train.log_every",   "train.valid_every", "train.valid_at_start",
      "train.keep_", "train.checkpoint_", "train.samples.",    "train.tasks."};
  std::vector<std::string> lines = differences(a, b, name_a, name_b);
  std::erase_if(lines, [&](std::string_view line) {
    return std::ranges::any_of(kDecideNone, [&](std::string_view key) { return line.starts_with(key); });
  });
  return lines;
}

void read_run_config(const std::filesystem::path& path, const std::vector<std::string>& overrides, FieldList& fields) {
  RunConfig asked;
  FieldList of_asked = fields_of(asked);
  read_config(path, overrides, of_asked);
  if (asked.recipe != Recipe::kNone)
    read_config_text(recipe_text(asked.recipe), fmt::format("recipe {}", name_of_enum(asked.recipe)), {}, fields);
  read_config(path, overrides, fields);
}

RunConfig load_run_config(const std::filesystem::path& path, const std::vector<std::string>& overrides) {
  RunConfig config;
  FieldList fields = fields_of(config);
  read_run_config(path, overrides, fields);
  return config;
}

// A published model may divide its one weight by itself; nothing would teach the router of a new one.
static void check_router_learns(const MoeConfig& moe, const std::string& where) {
  if (moe.router == RouterKind::kTopK && moe.top_k == 1 && moe.num_experts > 1 && moe.normalize != Normalize::kNever)
    fail(
        ErrorCode::kUsage,
        "{}: moe.normalize: expected never with moe.top_k 1, got {} (one weight divided by itself is 1, and the router "
        "would learn nothing from the loss)",
        where, name_of_enum(moe.normalize));
}

void check_rules(const RunConfig& config, const std::string& where) {
  const TrainConfig& train = config.train;
  check(config.model, where + ": model");
  check_router_learns(config.model.moe, where + ": model");
  if (train.steps > 0 && train.tokens > 0)
    fail(ErrorCode::kUsage, "{}: train.steps: expected either steps or tokens above 0, got {} and {}", where,
         train.steps, train.tokens);
  if (train.micro_sequences > 0 && train.batch_sequences % train.micro_sequences != 0)
    fail(ErrorCode::kUsage, "{}: train.micro_sequences: expected a divisor of train.batch_sequences ({}), got {}",
         where, train.batch_sequences, train.micro_sequences);
  const int64_t micro = micro_batch(train);
  if (const int64_t group = config.model.moe.group_sequences;
      config.model.moe.num_experts > 0 && group > 0 && micro % group != 0)
    fail(ErrorCode::kUsage,
         "{}: model.moe.group_sequences: expected a divisor of the {} sequences of a micro-batch, got {}", where, micro,
         group);
  tokens_per_step(config, where);
  const int64_t steps = num_steps(config);
  checked_product({steps, train.batch_sequences, config.model.context},
                  where + ": train.steps x train.batch_sequences x model.context");
  if (steps > 0) static_cast<void>(Schedule(train.schedule, steps, where + ": train.schedule"));
  check_optimizer(config, where);
  check_released_gradients(config, where);
  read_weights(config.data.weights, where + ": data.weights");
}

// Datasets have different names, and weights are of all of them or of none.
static void check_training_sets(const DataConfig& config, const std::string& where) {
  const std::map<std::string, double> weights = read_weights(config.weights, where + ": data.weights");
  std::set<std::string> names;
  for (const std::string& text : config.train)
    if (const std::string name = parse_named_path(text, where + ": data.train").name; !names.insert(name).second)
      fail(ErrorCode::kUsage, "{}: data.train: expected different names, got {} twice (write NAME=FOLDER)", where,
           name);
  for (const auto& [name, weight] : weights)
    if (!names.contains(name))
      fail(ErrorCode::kUsage, "{}: data.weights: expected a name from data.train, got {}", where, name);
  for (const std::string& name : names)
    if (!weights.empty() && !weights.contains(name))
      fail(ErrorCode::kUsage, "{}: data.weights: expected a weight for every dataset or for none, got none for {}",
           where, name);
}

// What is asked of validations needs some.
static void check_validation_rules(const RunConfig& config, const std::string& where) {
  const TrainConfig& train = config.train;
  const auto validated = [&](bool asked, const char* field) {
    if (asked && config.data.valid.empty())
      fail(ErrorCode::kUsage, "{}: {}: expected a validation set (data.valid) with it, got none", where, field);
  };
  validated(train.keep_best, "train.keep_best");
  validated(train.patience > 0, "train.patience");
  validated(!train.best_by.empty(), "train.best_by");
  if (train.valid_at_start && train.tasks.names.empty()) validated(true, "train.valid_at_start");
  if (train.patience > 0 && train.valid_every == 0)
    fail(ErrorCode::kUsage, "{}: train.patience: expected train.valid_every above 0 with it, got 0", where);
  const std::vector<NamedPath> sets = parse_named_paths(config.data.valid, where + ": data.valid");
  if (!train.best_by.empty() &&
      std::none_of(sets.begin(), sets.end(), [&](const NamedPath& set) { return set.name == train.best_by; }))
    fail(ErrorCode::kUsage, "{}: train.best_by: expected the name of a set in data.valid, got {}", where,
         train.best_by);
  if (train.samples.every > 0 && train.samples.prompts.empty())
    fail(ErrorCode::kUsage, "{}: train.samples.prompts: expected at least one prompt, got none", where);
  if (!train.tasks.names.empty() && train.tasks.data_dir.empty())
    fail(ErrorCode::kUsage, "{}: train.tasks.data_dir: expected the folder of the tasks' data, got none", where);
}

void check(const RunConfig& config, const std::string& where) {
  check_rules(config, where);
  if (num_steps(config) == 0)
    fail(ErrorCode::kUsage, "{}: train.steps: expected either steps or tokens above 0, got 0 and 0", where);
  if (config.data.train.empty())
    fail(ErrorCode::kUsage, "{}: data.train: expected at least one dataset, got none (make one with `troupe encode`)",
         where);
  if (config.data.attention == PackedAttention::kDocument && config.model.eos_id < 0)
    fail(ErrorCode::kUsage, "{}: data.attention: expected sequence without model.eos_id, got document (no id begins a text)",
         where);
  check_training_sets(config.data, where);
  check_validation_rules(config, where);
}

int64_t num_steps(const RunConfig& config) {
  if (config.train.steps > 0) return config.train.steps;
  const int64_t per_step = tokens_per_step(config, "configuration");
  return (config.train.tokens + per_step - 1) / per_step;
}

NamedEntry parse_named(const std::string& text) {
  const size_t equals = text.rfind('=');
  return equals == text.npos ? NamedEntry{text, text} : NamedEntry{text.substr(0, equals), text.substr(equals + 1)};
}

}  // namespace troupe
