#include "train/pretrain.h"

#include <chrono>
#include <map>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/threads.h"
#include "data/loader/loader.h"
#include "data/shards/tokenizer_identity.h"
#include "io/checksum.h"
#include "io/named_path.h"
#include "io/toml_config.h"
#include "model/decoder_parameters.h"
#include "model/flops.h"
#include "train/checkpoint.h"
#include "train/metrics.h"
#include "train/validation.h"

namespace troupe {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

std::shared_ptr<const TokenDataset> open_dataset(const std::string& folder, const DataConfig& config) {
  auto dataset = std::make_shared<const TokenDataset>(folder);
  if (!config.any_tokenizer) check_tokenizer_copy(*dataset);
  if (config.verify) dataset->verify();
  return dataset;
}

std::vector<Corpus> open_corpora(const DataConfig& config, const std::string& where) {
  std::map<std::string, double> weights = data_weights(config, where);
  std::vector<Corpus> corpora;
  for (const std::string& text : config.train) {
    const NamedPath entry = parse_named_path(text, where + ": data.train");
    const auto weight = weights.find(entry.name);
    corpora.push_back({.name = entry.name,
                       .data = open_dataset(entry.path, config),
                       .weight = weight == weights.end() ? 0.0 : weight->second});
    if (weight != weights.end()) weights.erase(weight);
  }
  if (!weights.empty())
    fail(ErrorCode::kUsage, "{}: data.weights: expected a name from data.train, got {}", where, weights.begin()->first);
  return corpora;
}

void check_vocabulary(const ModelConfig& model, const TokenDataset& data, const std::string& where) {
  if (data.vocabulary().size > model.vocab_size)
    fail(ErrorCode::kUsage, "{}: model.vocab_size: expected at least the {} ids of {}, got {}", where,
         data.vocabulary().size, data.path().string(), model.vocab_size);
  if (data.vocabulary().end_of_text != model.eos_id)
    fail(ErrorCode::kUsage, "{}: model.eos_id: expected {}, the end-of-text of {}, got {}", where,
         data.vocabulary().end_of_text, data.path().string(), model.eos_id);
}

// A loss on another tokenizer's ids means nothing.
void check_validation(const DataConfig& config, const TokenDataset& data, const TokenDataset& train,
                      const std::string& where) {
  const uint64_t expected = train.vocabulary().tokenizer, got = data.vocabulary().tokenizer;
  if (expected != got && !config.any_tokenizer)
    fail(ErrorCode::kData,
         "{}: data.valid: {}: expected the tokenizer of {} ({}), got another ({}; encode the text with the former, or "
         "data.any_tokenizer = true)",
         where, data.path().string(), train.path().string(), to_hex(expected), to_hex(got));
}

struct Interrupted {};

// The parts of a run and the order in which things happen to them.
class Run {
 public:
  Run(const RunConfig& config, const std::string& where, const PretrainOptions& options)
      : config_(config),
        options_(options),
        steps_(num_steps(config)),
        loader_(open_corpora(config.data, where), static_cast<uint64_t>(config.train.seed),
                config.train.batch_sequences, config.model.context),
        model_(config.model, parse_precision(config.train.precision), {.recompute = config.train.recompute}),
        trainer_(
            model_, Schedule(config.train.schedule, steps_), trainer_options(),
            [this](int64_t step, int64_t micro) { return loader_.batch(step, micro * micro_size(), micro_size()); }),
        flops_per_token_(train_flops_per_token(config.model, config.model.context)) {
    for (const Corpus& corpus : loader_.corpora()) check_vocabulary(config.model, *corpus.data, where);
    for (const NamedPath& entry : parse_named_paths(config.data.valid, where + ": data.valid")) {
      const auto dataset = open_dataset(entry.path, config.data);
      check_vocabulary(config.model, *dataset, where);
      check_validation(config.data, *dataset, *loader_.corpora().front().data, where);
      validation_.add(entry.name, *dataset, config.train.valid_tokens);
    }
    state_.config = config;
    for (const Corpus& corpus : loader_.corpora())
      state_.data.push_back({.name = corpus.name,
                             .checksum = corpus.data->checksum(),
                             .tokens = corpus.data->tokens(),
                             .weight = corpus.weight});
    start_or_resume(where);
  }

  PretrainResult go() {
    describe();
    MetricsFile metrics(options_.run / "metrics.jsonl", state_.step);
    const auto write = [&](const nlohmann::ordered_json& line) {
      metrics.append(line);
      if (options_.metrics) options_.metrics(line);
    };
    try {
      if (validation_due()) validate(write);
      while (state_.step < steps_) {
        step(write);
        if (validation_due() && !interrupted()) validate(write);
        if (checkpoint_due()) checkpoint();
        if (interrupted() && state_.step < steps_) throw Interrupted();
      }
    } catch (const Interrupted&) {
      if (newest_step_ != state_.step) checkpoint();
      return {.step = state_.step, .interrupted = true, .model = {}, .checkpoint = newest_};
    }
    return {.step = state_.step, .interrupted = false, .model = export_model(), .checkpoint = newest_};
  }

 private:
  using WriteLine = std::function<void(const nlohmann::ordered_json&)>;

  int64_t micro_size() const {
    return config_.train.micro_sequences > 0 ? config_.train.micro_sequences : config_.train.batch_sequences;
  }
  TrainerOptions trainer_options() const {
    return {.seed = static_cast<uint64_t>(config_.train.seed),
            .micro_batches = config_.train.batch_sequences / micro_size(),
            .clip_norm = config_.train.clip_norm,
            .adam = config_.train.adam};
  }
  fs::path checkpoints() const { return options_.run / "checkpoints"; }
  bool interrupted() const { return options_.interrupted && options_.interrupted(); }
  bool every(int64_t interval) const { return interval > 0 && state_.step % interval == 0; }
  bool validation_due() const {
    return !validation_.empty() && state_.step > 0 && state_.validated_step != state_.step &&
           (every(config_.train.valid_every) || state_.step == steps_);
  }
  bool checkpoint_due() const { return every(config_.train.checkpoint_every) || state_.step == steps_; }

  template <class... Args>
  void say(fmt::format_string<Args...> format, Args&&... args) const {
    if (options_.message) options_.message(fmt::format(format, std::forward<Args>(args)...));
  }

  void start_or_resume(const std::string& where) {
    const std::optional<Checkpoint> newest = newest_complete(checkpoints());
    if (newest && !options_.resume)
      fail(ErrorCode::kUsage, "{}: expected a new run, got one at step {} (--resume goes on with it)",
           options_.run.string(), newest->step);
    if (!newest) {
      if (options_.resume) say("{}: no checkpoint yet: starting from the beginning", options_.run.string());
      initialize(model_.params(), static_cast<uint64_t>(config_.train.seed));
    } else {
      TrainState saved = load_train_state(*newest);
      for (const std::string& line : check_resume(saved, config_, state_.data, where)) say("resume: {}", line);
      load_trainer(*newest, saved, trainer_);
      saved.config = state_.config;
      state_ = std::move(saved);
      newest_ = newest->folder;
      newest_step_ = newest->step;
      say("resume: {} steps done, from {}", state_.step, newest->folder.string());
    }
    remove_leftovers(checkpoints());
    write_file_atomically(options_.run / "config.toml", to_toml(fields_of(config_)));
  }

  void describe() const {
    const ModelConfig& model = config_.model;
    say("model: {} layers, width {}, {} parameters ({} active per token), {}", model.num_layers, model.d_model,
        model_.table().num_parameters(), num_active_parameters(model),
        model_.precision() == Precision::kBf16 ? "bf16" : "fp32");
    say("run: {} steps of {} sequences x {} tokens in {} micro-batches, {} threads", steps_,
        config_.train.batch_sequences, model.context, config_.train.batch_sequences / micro_size(), num_threads());
    for (const Loader::Use& use : loader_.use(steps_))
      say("data: {}: {:.1f} % of the sequences, {:.2f} epochs in this run", use.name, 100.0 * use.share, use.epochs);
  }

  void step(const WriteLine& write) {
    const Clock::time_point start = Clock::now();
    const StepStats stats = trainer_.step();
    const double seconds = seconds_since(start);
    state_.step = stats.step;
    state_.totals.tokens += stats.loss.tokens;
    state_.totals.seconds += seconds;
    state_.interval.add(stats, seconds);
    if (options_.step) options_.step(stats, steps_, seconds);
    if (!every(config_.train.log_every) && state_.step != steps_) return;
    write(train_line(stats, state_.interval, state_.totals, flops_per_token_, options_.peak_flops));
    state_.interval = {};
  }

  // All sets or none: an interrupted validation is done again after resuming.
  void validate(const WriteLine& write) {
    const auto stop_if_interrupted = [&] {
      if (interrupted()) throw Interrupted();
    };
    for (const auto& line : validation_.run(model_, state_.step, stop_if_interrupted)) write(line);
    state_.validated_step = state_.step;
  }

  void checkpoint() {
    newest_ = save_checkpoint(checkpoints(), state_, trainer_, tokenizer()).folder;
    newest_step_ = state_.step;
    prune_checkpoints(checkpoints(), config_.train.keep_last);
  }

  fs::path tokenizer() const { return loader_.corpora().front().data->tokenizer_path(); }

  fs::path export_model();

  RunConfig config_;
  const PretrainOptions& options_;
  int64_t steps_;
  Loader loader_;
  LanguageModel model_;
  Trainer trainer_;
  double flops_per_token_;
  Validation validation_;
  TrainState state_;
  fs::path newest_;
  int64_t newest_step_ = -1;
};

fs::path Run::export_model() {
  AtomicDirectory folder(options_.run / "model");
  for (const char* name : {"config.json", "model.safetensors", "tokenizer.json", "train_state.json"})
    if (fs::exists(newest_ / name)) fs::copy_file(newest_ / name, folder.path() / name);
  folder.commit(AtomicDirectory::Existing::kReplace);
  say("model: {}", folder.destination().string());
  return folder.destination();
}

}  // namespace

PretrainResult pretrain(const RunConfig& config, const std::string& where, const PretrainOptions& options) {
  check(config, where);
  return Run(config, where, options).go();
}

}  // namespace troupe
