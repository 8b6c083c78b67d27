#include "train/pretrain.h"

#include <cmath>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "base/log_file.h"
#include "base/quantity.h"
#include "base/threads.h"
#include "io/json_fields.h"
#include "io/json_file.h"
#include "io/provenance.h"
#include "model/decoder_parameters.h"
#include "model/flops.h"
#include "train/gradients.h"
#include "train/metrics.h"
#include "train/peak_beside.h"
#include "train/run_data.h"
#include "train/run_folder.h"
#include "train/run_samples.h"
#include "train/run_summary.h"
#include "train/run_tasks.h"

namespace troupe {
namespace {

struct Interrupted {};

// Of the lines of a validation: that of a set, or the mean over all.
double nll_by(const std::string& set, const std::vector<ValidLine>& lines) {
  double sum = 0.0;
  for (const ValidLine& line : lines) {
    if (line.data == set) return line.nll;
    sum += line.nll;
  }
  return sum / static_cast<double>(lines.size());
}

// Of a micro-batch.
std::vector<int64_t> sequences_per_rank(const RunConfig& config, const Communicator* ranks) {
  const int64_t unit = config.model.num_moe_layers() > 0 ? std::max<int64_t>(1, config.model.moe.group_sequences) : 1;
  std::vector<int64_t> sequences;
  for (int r = 0; r < (ranks ? ranks->size() : 1); ++r)
    sequences.push_back(share_of(micro_batch(config.train), r, ranks ? ranks->size() : 1, unit).size());
  return sequences;
}

// The parts of a run and the order in which things happen to them.
class Run {
 public:
  Run(const RunConfig& config, const std::string& where, const PretrainOptions& options)
      : config_(config),
        options_(options),
        folder_(options.run, to_string(precision_of(config.train.precision)), options.ranks),
        steps_(num_steps(config)),
        loader_(open_training_data(config, where)),
        model_(config.model, precision_of(config.train.precision), {.recompute = config.train.recompute, .ranks = options.ranks}),
        trainer_(model_, Schedule(config.train.schedule, steps_), trainer_options(config.train),
                 [this, rows = micro_batch(config.train)](int64_t step, int64_t micro) {
                   Batch batch = loader_.batch(step, micro * rows, rows);
                   batch.texts_apart = config_.data.attention == PackedAttention::kDocument;
                   return batch;
                 }),
        validation_(open_validation_data(config, loader_, where)),
        tasks_(config, tokenizer(), where),
        samples_(config, tokenizer(), where),
        peak_flops_(options.measure_peak),
        state_(folder_.begin(
            {.config = config, .where = where, .data = identities(loader_), .steps = steps_, .resume = options.resume},
            trainer_, [&] { initialize(model_.params(), static_cast<uint64_t>(config.train.seed)); })),
        summary_(trainer_, sequences_per_rank(config, options.ranks)) {}

  PretrainResult go() {
    describe();
    try {
      const PretrainResult result = train();
      summary_.finish();
      if (folder_.leads()) write_json_file(folder_.files().summary(), json_of(summary_));
      if (result.interrupted)
        folder_.record("interrupted", state_);
      else if (out_of_patience())
        folder_.record("complete", state_, {{"stopped_early", true}, {"best_step", state_.best.step}});
      else
        folder_.record("complete", state_);
      return result;
    } catch (const Error& error) {
      folder_.record_failure(error, state_);
      throw;
    }
  }

 private:
  PretrainResult train() {
    if (folder_.leads()) metrics_.emplace(folder_.files().metrics(), folder_.newest().step);
    try {
      peak_flops_();
      look();
      while (!finished()) {
        step();
        saving([&] { folder_.go_on_saving(); });
        if (!interrupted()) look();
        if (checkpoint_due() && folder_.saved_step() != state_.step) checkpoint(mode_of_checkpoints());
        if (interrupted() && !finished()) throw Interrupted();
      }
    } catch (const Interrupted&) {
      if (folder_.saved_step() != state_.step) checkpoint(SaveMode::kNow);
      saving([&] { folder_.finish_saving(); });
      return {.step = state_.step, .interrupted = true, .model = {}, .checkpoint = folder_.newest().folder};
    }
    saving([&] { folder_.finish_saving(); });
    if (state_.step < steps_)
      log::info("stopped early: {} validations in a row were not better than the {:.4f} nats per token of step {}",
                state_.best.since, state_.best.nll, state_.best.step);
    warn_if_worse_than_chance();
    folder_.export_model(folder_.newest(), folder_.files().model());
    log::info("model: {}", folder_.files().model().string());
    return {.step = state_.step,
            .interrupted = false,
            .model = folder_.files().model(),
            .checkpoint = folder_.newest().folder};
  }

  bool interrupted() const {
    const bool own = options_.interrupted && options_.interrupted();
    return options_.ranks ? options_.ranks->any(own, "whether to stop") : own;
  }
  bool every(int64_t interval) const { return interval > 0 && state_.step % interval == 0; }
  bool out_of_patience() const {
    return config_.train.patience > 0 && state_.best.since >= config_.train.patience;
  }
  bool finished() const { return state_.step == steps_ || out_of_patience(); }
  bool validation_due() const {
    if ((validation_.empty() && tasks_.empty()) || state_.validated_step == state_.step) return false;
    if (state_.step == 0) return config_.train.valid_at_start;
    return every(config_.train.valid_every) || state_.step == steps_;
  }
  bool samples_due() const {
    return !samples_.empty() && state_.step > 0 && state_.sampled_step != state_.step &&
           (every(config_.train.samples.every) || state_.step == steps_);
  }
  SaveMode mode_of_checkpoints() const {
    return config_.train.checkpoint_in_background && !finished() ? SaveMode::kInBackground : SaveMode::kNow;
  }
  bool checkpoint_due() const { return every(config_.train.checkpoint_every) || finished(); }
  std::filesystem::path tokenizer() const { return loader_.corpora().front().data->tokenizer_path(); }

  void step() {
    summary_.begin_step();
    const Clock::time_point start = Clock::now();
    const StepStats stats = trainer_.step();
    const double seconds = seconds_since(start);
    summary_.end_step(seconds);
    state_.add(stats, seconds);
    if (options_.step && folder_.leads()) options_.step(stats, steps_, seconds);
    if (!every(config_.train.log_every) && state_.step != steps_) return;
    const double flops = train_flops_per_token(config_.model, config_.model.context);
    write(json_of(train_line(stats, state_.interval, state_.totals, flops, peak_flops_())));
    last_loss_ = state_.interval.loss.nll / static_cast<double>(state_.interval.loss.tokens);
    state_.interval = {};
  }

  // What a run sees of its model meanwhile. A new best is a checkpoint, of which best/ is the export: so a run that
  // goes on from any checkpoint finds the best one of its time.
  void look() {
    const bool validates = validation_due(), samples = samples_due();
    const int64_t best_before = state_.best.step;
    if (validates) validate();
    if (samples) sample();
    const bool is_best = config_.train.keep_best && state_.best.step != best_before;
    // A checkpoint of this very step, from which the run went on, knows nothing of what was just seen.
    const bool is_saved = folder_.saved_step() == state_.step;
    if (is_best || (is_saved && (validates || samples))) checkpoint(SaveMode::kNow);
    if (is_best) folder_.export_model(folder_.newest(), folder_.files().best());
  }

  // All sets and tasks or none: an interrupted validation is done again after resuming.
  void validate() {
    std::vector<ValidLine> sets;
    std::vector<nlohmann::ordered_json> figures;
    together_as_found([&] {
      sets = validation_.run(model_, state_.step, [&] { stop_if_interrupted(); });
      figures = tasks_.run(model_, state_.step, [&] { stop_if_interrupted(); });
    });
    for (const ValidLine& line : sets) write(json_of(line));
    for (const auto& line : figures) write(line);
    state_.validated_step = state_.step;
    if (sets.empty() || state_.step == 0) return;  // a model without any update is nobody's best
    const double nll = nll_by(config_.train.best_by, sets);
    if (state_.best.step < 0 || nll < state_.best.nll)
      state_.best = {.step = state_.step, .nll = nll, .since = 0};
    else
      ++state_.best.since;
  }

  void sample() {
    std::vector<nlohmann::ordered_json> lines;
    together_as_found([&] { lines = samples_.run(model_, state_.step, [&] { stop_if_interrupted(); }); });
    for (const auto& line : lines) write(line);
    state_.sampled_step = state_.step;
  }

  // A score that is not finite is so on all ranks: they say it together.
  void together_as_found(const std::function<void()>& work) const {
    if (!options_.ranks) return work();
    std::optional<Error> found;
    try {
      work();
    } catch (const Error& error) {
      if (error.code() != ErrorCode::kNonFinite) throw;
      found = error;
    }
    options_.ranks->together([&] { if (found) throw Error(*found); }, "an evaluation");
  }

  void stop_if_interrupted() const {
    if (interrupted()) throw Interrupted();
  }

  void checkpoint(SaveMode mode) {
    saving([&] {
      trainer_.require_finite_moments();
      folder_.save(state_, trainer_, tokenizer(), mode);
    });
    summary_.count_checkpoint();
  }

  // Training waits for it.
  void saving(const std::function<void()>& work) {
    const Clock::time_point start = Clock::now();
    work();
    summary_.add_saving(seconds_since(start));
  }

  void write(nlohmann::ordered_json line) {
    if (!folder_.leads()) return;
    add_provenance(line, to_string(model_.precision()));
    metrics_->append(line);
    if (options_.metrics) options_.metrics(line);
  }

  void describe() const {
    const ModelConfig& model = config_.model;
    const TrainConfig& train = config_.train;
    log::info("model: {}, width {}, {} parameters ({} active per token), {}", counted(model.num_layers, "layer"),
              model.d_model, model_.table().num_parameters(), num_active_parameters(model),
              to_string(model_.precision()));
    log::info("run: {} of {} x {} in {}, {}", counted(steps_, "step"), counted(train.batch_sequences, "sequence"),
              counted(model.context, "token"),
              counted(train.batch_sequences / micro_batch(train), "micro-batch", "micro-batches"),
              counted(num_threads(), "thread"));
    if (options_.ranks) summary_.describe(*options_.ranks);
    for (const Loader::Use& use : loader_.use(steps_))
      log::info("data: {}: {:.1f} % of the sequences, {:.2f} epochs in this run", use.name, 100.0 * use.share,
                use.epochs);
  }

  void warn_if_worse_than_chance() const {
    const double chance = std::log(static_cast<double>(config_.model.vocab_size));
    if (last_loss_ > chance + 1.0)
      log::warning(
          "the loss at the end is {:.2f} nats per token, far above the {:.2f} of a uniform guess among {} "
          "tokens: this model has learnt nothing, or diverged",
          last_loss_, chance, config_.model.vocab_size);
  }

  const RunConfig& config_;
  const PretrainOptions& options_;
  RunFolder folder_;
  int64_t steps_;
  Loader loader_;
  LanguageModel model_;
  Trainer trainer_;
  Validation validation_;
  RunTasks tasks_;
  RunSamples samples_;
  PeakBeside peak_flops_;
  TrainState state_;
  RunSummary summary_;
  std::optional<MetricsFile> metrics_;
  double last_loss_ = 0.0;
};

}  // namespace

TrainerOptions trainer_options(const TrainConfig& train) {
  return {.seed = static_cast<uint64_t>(train.seed),
          .micro_batches = train.batch_sequences / micro_batch(train),
          .clip_norm = train.clip_norm,
          .z_loss = train.z_loss,
          .expert_gradients = train.expert_gradients,
          .adam = train.adam,
          .optimizer = train.optimizer,
          .muon = train.muon};
}

void check_one_process_keys(const RunConfig& config, const std::string& where, int ranks) {
  if (config.train.optimizer.release_gradients)
    fail(ErrorCode::kUsage, "{}: train.optimizer.release_gradients: expected one process with it, got {} ranks", where,
         ranks);
}

void check_shares(const RunConfig& config, const std::string& where, int ranks) {
  check_one_process_keys(config, where, ranks);
  const int64_t group = config.model.num_moe_layers() > 0 ? config.model.moe.group_sequences : 0;
  const int64_t unit = std::max<int64_t>(1, group), rows = micro_batch(config.train);
  if ((rows + unit - 1) / unit >= ranks) return;
  fail(ErrorCode::kUsage, "{}: {}: expected at least {} sequences in a micro-batch, {} for each of {} ranks, got {}", where,
       config.train.micro_sequences > 0 ? "train.micro_sequences" : "train.batch_sequences", unit * ranks,
       unit == 1 ? std::string("one") : fmt::format("a routing group of {}", unit), ranks, rows);
}

PretrainResult pretrain(const RunConfig& config, const std::string& where, const PretrainOptions& options) {
  check(config, where);
  if (options.ranks) check_shares(config, where, options.ranks->size());
  return Run(config, where, options).go();
}

}  // namespace troupe
