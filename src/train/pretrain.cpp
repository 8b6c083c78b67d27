#include "train/pretrain.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/clock.h"
#include "base/error.h"
#include "base/machine.h"
#include "base/threads.h"
#include "data/loader/loader.h"
#include "data/shards/tokenizer_identity.h"
#include "io/atomic_file.h"
#include "io/checksum.h"
#include "io/named_path.h"
#include "io/provenance.h"
#include "io/toml_config.h"
#include "io/writer_lock.h"
#include "model/decoder_parameters.h"
#include "model/flops.h"
#include "train/checkpoint.h"
#include "train/gradients.h"
#include "train/metrics.h"
#include "train/run_history.h"
#include "train/validation.h"

namespace troupe {
namespace {

namespace fs = std::filesystem;

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
        lock_(options.run, WriterLock::Place::kInside),
        history_(options.run),
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
    try {
      const PretrainResult result = train();
      record(result.interrupted ? "interrupted" : "complete");
      return result;
    } catch (const Error& error) {
      record_failure(error.what());
      throw;
    }
  }

 private:
  using WriteLine = std::function<void(const nlohmann::ordered_json&)>;

  PretrainResult train() {
    MetricsFile metrics(options_.run / "metrics.jsonl", state_.step);
    const auto write = [&](nlohmann::ordered_json line) {
      add_provenance(line, to_string(model_.precision()));
      metrics.append(line);
      if (options_.metrics) options_.metrics(line);
    };
    try {
      peak_flops();
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
    warn_if_worse_than_chance();
    return {.step = state_.step, .interrupted = false, .model = export_model(), .checkpoint = newest_};
  }

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
    const FoundCheckpoints found = find_checkpoints(checkpoints());
    if (!found.newest) refuse_to_start_over(found);
    if (found.newest && !options_.resume)
      fail(ErrorCode::kUsage, "{}: expected a new run, got one at step {} (--resume goes on with it)",
           options_.run.string(), found.newest->step);
    if (found.newest)
      resume(found, where);
    else
      start();
    remove_leftovers(checkpoints());
  }

  // Without a checkpoint that can be read: this is either a new run, or one that must not be written over.
  void refuse_to_start_over(const FoundCheckpoints& found) const {
    constexpr const char* kHint = "nothing was changed; restore it, or name another folder";
    const std::string run = options_.run.string();
    if (!found.broken.empty())
      fail(ErrorCode::kData, "{}: expected a complete checkpoint of this run, got {} that {} not: {} ({})", run,
           found.broken.size(), found.broken.size() == 1 ? "is" : "are", found.broken.front().problem, kHint);
    const auto refuse = [&](const std::string& trace) {
      fail(ErrorCode::kData, "{}: expected the checkpoints of this run, got none, although {} ({})",
           checkpoints().string(), trace, kHint);
    };
    const auto is_there = [](const fs::path& path) {
      return fs::symlink_status(path).type() != fs::file_type::not_found;
    };
    if (is_there(options_.run / "model")) refuse("its model is there");
    if (const auto remains = first_of(checkpoints())) refuse(remains->string() + " is there");
    if (const int64_t step = history_.last_checkpoint())
      refuse(fmt::format("{} says that there was one of step {}", history_.path().string(), step));
    if (history_.has_started()) return;  // and was killed before its first checkpoint
    for (const char* file : {"metrics.jsonl", "config.toml"})
      if (is_there(options_.run / file))
        refuse((options_.run / file).string() + " is there, without a " + history_.path().filename().string() +
               " that tells of a start");
  }

  // What is in a folder besides unfinished checkpoints.
  static std::optional<fs::path> first_of(const fs::path& folder) {
    std::error_code none;
    for (const auto& entry : fs::directory_iterator(folder, none))
      if (!is_temporary_name(entry.path())) return entry.path();
    return std::nullopt;
  }

  void start() {
    if (options_.resume) say("{}: no checkpoint yet: starting from the beginning", options_.run.string());
    initialize(model_.params(), static_cast<uint64_t>(config_.train.seed));
    history_.append("start", 0, by());
    write_file_atomically(options_.run / "config.toml", to_toml(fields_of(config_)));
  }

  void resume(const FoundCheckpoints& found, const std::string& where) {
    TrainState saved = load_train_state(*found.newest);
    const std::vector<std::string> changes = check_resume(saved, config_, state_.data, where);
    if (steps_ < saved.step)
      fail(ErrorCode::kUsage, "{}: train.steps: expected at least the {} updates that {} has done, got {}", where,
           saved.step, options_.run.string(), steps_);
    load_trainer(*found.newest, saved, trainer_);
    for (const BrokenCheckpoint& broken : found.broken)
      say("warning: {}: this checkpoint is not complete, and is set aside as {}", broken.problem,
          set_aside(broken.checkpoint).filename().string());
    if (!found.broken.empty())
      say("warning: going on from step {}, not from step {}: what came after it is computed again", saved.step,
          found.broken.front().checkpoint.step);
    if (const int64_t last = history_.last_checkpoint(); found.broken.empty() && last > saved.step)
      say("warning: {} says that there was a checkpoint of step {}, which is gone: going on from step {}; what came "
          "after it is computed again",
          history_.path().string(), last, saved.step);
    // What config.toml says is what the next updates are made with; without any it stays as it is.
    const bool complete = saved.step == steps_;
    for (const std::string& line : changes)
      say("resume: {}{}", line, complete ? " (changes nothing: all updates are done)" : "");
    const std::string toml = to_toml(fields_of(complete ? saved.config : config_));
    saved.config = complete ? saved.config : state_.config;
    state_ = std::move(saved);
    newest_ = found.newest->folder;
    newest_step_ = found.newest->step;
    say("resume: {} steps done, from {}", state_.step, newest_.string());
    write_file_atomically(options_.run / "config.toml", toml);
    nlohmann::ordered_json more = by();
    if (!complete && !changes.empty()) more["changes"] = changes;
    history_.append("resume", state_.step, more);
  }

  nlohmann::ordered_json by() const {
    return {{"provenance", to_json(provenance(to_string(model_.precision())))}};
  }
  void record(std::string_view event, nlohmann::ordered_json more = nlohmann::ordered_json::object()) const {
    more.update({{"time_s", state_.totals.seconds}, {"peak_memory_bytes", peak_memory_bytes()}});
    history_.append(event, state_.step, more);
  }
  void record_failure(const char* what) const {
    try {
      record("failed", {{"error", what}});
    } catch (const Error&) {  // the failure itself matters more
    }
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
    write(train_line(stats, state_.interval, state_.totals, flops_per_token_, peak_flops()));
    last_loss_ = state_.interval.loss.nll / static_cast<double>(state_.interval.loss.tokens);
    state_.interval = {};
  }

  // Of the machine beside the interval: the better of what was measured before and after it, since a burst may fall into
  // a moment in which another program runs.
  double peak_flops() {
    constexpr double kSeconds = 5.0;  // between measurements, which take some 25 ms
    if (options_.measure_peak && (peak_after_ == 0.0 || seconds_since(peak_time_) >= kSeconds)) {
      peak_before_ = peak_after_;
      peak_after_ = options_.measure_peak();
      peak_time_ = Clock::now();
    }
    return std::max(peak_before_, peak_after_);
  }

  void warn_if_worse_than_chance() const {
    const double chance = std::log(static_cast<double>(config_.model.vocab_size));
    if (last_loss_ > chance + 1.0)
      say("warning: the loss at the end is {:.2f} nats per token, far above the {:.2f} of a uniform guess among {} "
          "tokens: this model has learnt nothing, or diverged",
          last_loss_, chance, config_.model.vocab_size);
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
    require_finite_update(state_.step, "first moment of ", trainer_.optimizer().first_moment());
    require_finite_update(state_.step, "second moment of ", trainer_.optimizer().second_moment());
    newest_ = save_checkpoint(checkpoints(), state_, trainer_, tokenizer()).folder;
    newest_step_ = state_.step;
    record("checkpoint");
    prune_checkpoints(checkpoints(), config_.train.keep_last);
  }

  fs::path tokenizer() const { return loader_.corpora().front().data->tokenizer_path(); }

  fs::path export_model();

  RunConfig config_;
  const PretrainOptions& options_;
  WriterLock lock_;
  RunHistory history_;
  int64_t steps_;
  Loader loader_;
  LanguageModel model_;
  Trainer trainer_;
  double flops_per_token_;
  Validation validation_;
  TrainState state_;
  fs::path newest_;
  int64_t newest_step_ = -1;
  double last_loss_ = 0.0;
  double peak_before_ = 0.0, peak_after_ = 0.0;
  Clock::time_point peak_time_;
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
