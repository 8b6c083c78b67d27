#include "train/finetune_trial.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "base/quantity.h"
#include "eval/shared_batches.h"
#include "eval/statistics.h"
#include "io/atomic_file.h"
#include "io/json_fields.h"
#include "io/json_file.h"
#include "io/provenance.h"
#include "io/tokenizer_files.h"
#include "model/decoder_parameters.h"
#include "model/hf/hf_write.h"
#include "model/hf/peft.h"
#include "model/model_directory.h"
#include "train/freeze.h"
#include "train/metrics.h"
#include "train/run_folder.h"
#include "train/run_summary.h"

namespace troupe {
namespace {

using nlohmann::ordered_json;

std::vector<std::string> names_of(const LoraParameters& adapters) {
  std::vector<std::string> names;
  for (const LoraTarget& target : adapters.targets) names.push_back(target.weight.name);
  return names;
}

class TrialRun {
 public:
  TrialRun(const Trial& trial, const std::vector<FinetuneSource>& sources, const std::vector<FinetuneLine>& zero_shot,
           const FinetuneModel& model, const std::string& where, const FinetuneOptions& options)
      : trial_(trial),
        sources_(sources),
        zero_shot_(zero_shot),
        source_model_(model),
        options_(options),
        precision_(precision_of(trial.config.train.precision)),
        folder_(trial.folder, to_string(precision_), options.ranks),
        loader_(text_sources(), loader_options()),
        model_(loaded()),
        teacher_(teacher()),
        trainer_(*model_, Schedule(trial.config.train.schedule, trial.config.train.steps), trainer_options(),
                 [this](int64_t step, int64_t micro) { return loader_.batch(step, micro); }),
        state_(folder_.begin({.config = trial.config,
                              .where = where,
                              .data = identities(),
                              .steps = trial.config.train.steps,
                              .resume = options.resume},
                             trainer_, [] {})),
        summary_(trainer_, {}) {}

  // False if it was interrupted.
  bool go() {
    if (folder_.leads()) metrics_.emplace(folder_.files().metrics(), folder_.newest().step);
    run_together(options_.ranks, [&] { tokenizer_json_ = tokenizer_json(); }, "the tokenizer");
    describe();
    try {
      while (true) {
        if (evaluation_due()) evaluate();
        if (finished()) break;
        stop_if(interrupted());
        step();
        saving([&] { folder_.go_on_saving(); });
        const int64_t every = trial_.config.train.checkpoint_every;
        if (every > 0 && state_.step % every == 0 && !evaluation_due())
          checkpoint(train().checkpoint_in_background ? SaveMode::kInBackground : SaveMode::kNow);
      }
      if (state_.step > 0 && folder_.saved_step() != state_.step) checkpoint(SaveMode::kNow);
      saving([&] { folder_.finish_saving(); });
      folder_.export_model({.folder = folder_.files().best(), .step = state_.best.step}, folder_.files().model());
      if (trainer_.adapters())
        run_on_first(options_.ranks, [&] { export_adapter(); }, "the adapter");
      log::info("model: {}, of epoch {}", folder_.files().model().string(),
                state_.best.step / loader_.steps_per_epoch());
      write_summary();
      folder_.record("complete", state_, {{"best_step", state_.best.step}});
      return true;
    } catch (const Error& error) {
      if (error.code() != ErrorCode::kInterrupted) {
        folder_.record_failure(error, state_);
        throw;
      }
    }
    if (folder_.saved_step() != state_.step) checkpoint(SaveMode::kNow);
    saving([&] { folder_.finish_saving(); });
    write_summary();
    folder_.record("interrupted", state_);
    return false;
  }

 private:
  const TrainConfig& train() const { return trial_.config.train; }
  const FinetuneConfig& finetune() const { return *trial_.config.finetune; }
  bool own_interrupted() const { return options_.interrupted && options_.interrupted(); }
  bool interrupted() const {
    return options_.ranks ? options_.ranks->any(own_interrupted(), "whether to stop") : own_interrupted();
  }
  static void stop_if(bool interrupted) {
    if (interrupted) fail(ErrorCode::kInterrupted, "interrupted");
  }
  bool out_of_patience() const { return train().patience > 0 && state_.best.since >= train().patience; }
  bool finished() const { return state_.step == train().steps || out_of_patience(); }
  bool evaluation_due() const {
    return state_.validated_step != state_.step && state_.step % loader_.steps_per_epoch() == 0;
  }

  Filling filling() const {
    const ModelConfig& model = source_model_.config;
    return {.id = static_cast<int32_t>(model.pad_id >= 0 ? model.pad_id : model.eos_id), .context = model.context};
  }
  TextLoader::Options loader_options() const {
    return {.seed = static_cast<uint64_t>(train().seed),
            .batch_texts = train().batch_sequences,
            .micro_batches = train().batch_sequences / micro_batch(train()),
            .filling = filling()};
  }
  std::vector<TextSource> text_sources() const {
    std::vector<TextSource> texts;
    for (const FinetuneSource& source : sources_) texts.push_back({source.name, source.train, source.weight});
    return texts;
  }
  std::vector<DatasetIdentity> identities() const {
    std::vector<DatasetIdentity> list = {
        {.name = "model", .checksum = source_model_.checksum, .key = "finetune.model"}};
    if (source_model_.teacher)
      list.push_back({.name = "teacher", .checksum = source_model_.teacher->checksum, .key = "finetune.teacher"});
    for (const TextSource& source : loader_.sources()) {
      DatasetIdentity identity{.name = source.name, .weight = source.weight};
      for (const FinetuneSource& given : sources_)
        if (given.name == source.name) identity.checksum = given.checksum, identity.key = given.key;
      for (const TrainingText& text : source.texts) identity.tokens += text.inputs();
      list.push_back(identity);
    }
    return list;
  }

  std::unique_ptr<LanguageModel> loaded() const {
    auto model = std::make_unique<LanguageModel>(trial_.config.model, precision_,
                                                 DecoderOptions{.recompute = train().recompute, .ranks = options_.ranks});
    load_parameters(source_model_.folder, model->params());
    return model;
  }

  // For the same batches, of which it has no gradients.
  std::unique_ptr<LanguageModel> teacher() const {
    if (!source_model_.teacher) return nullptr;
    std::unique_ptr<LanguageModel> teacher = load_model(source_model_.teacher->folder, precision_);
    model_->learn_from(*teacher, {finetune().teacher_alpha, finetune().teacher_temperature});
    return teacher;
  }

  TrainerOptions trainer_options() {
    TrainerOptions options = troupe::trainer_options(train());
    if (const LoraConfig& lora = finetune().lora; lora.is_used()) {
      options.lora = LoraOptions{.adapted = lora_targets(lora.targets),
                                 .rank = lora.rank,
                                 .scale = lora.scale(),
                                 .seed = static_cast<uint64_t>(train().seed),
                                 .dropout = lora.dropout};
      return options;
    }
    ChosenExperts chosen;
    if (finetune().freeze == Freeze::kAllButChosenExperts) {
      chosen = choose_experts(use_of_experts(), finetune().top_p);
      for (const auto& [layer, experts] : chosen)
        log::info("layer {}: experts that are trained: {} of {}: {}", layer, experts.size(),
                  trial_.config.model.moe.num_experts, fmt::join(experts, ", "));
    }
    options.trained = trained_of(finetune().freeze, chosen);
    return options;
  }

  // Of the training data's first texts, by the model as it was before: the same after every resume.
  std::vector<RouterStats> use_of_experts() {
    constexpr size_t kTexts = 1024, kAtATime = 32;
    std::vector<RouterStats> use;
    for (const FinetuneSource& source : sources_) {
      const std::span<const TrainingText> first(source.train.data(), std::min(kTexts, source.train.size()));
      for (const Batch& batch : batches_of(first, kAtATime, filling())) {
        static_cast<void>(model_->score(batch, {}));
        const std::span<const RouterStats> stats = model_->router_stats();
        use.resize(stats.size());
        for (size_t i = 0; i < use.size(); ++i) use[i] += stats[i], use[i].layer = stats[i].layer;
      }
    }
    return use;
  }

  int64_t num_trained() const {
    int64_t trained = 0;
    if (const RankShares* const shares = trainer_.shares()) {
      trained = shares->own_elements();
      options_.ranks->sum(std::span(&trained, 1), "summary");
    } else {
      for (const Parameter& parameter : trainer_.gradients().entries()) trained += parameter.size();
    }
    return trained;
  }

  void describe() const {
    const int64_t trained = num_trained();
    log::info("model: {} parameters, of which {} are trained ({:.1f} %)", model_->table().num_parameters(), trained,
              100.0 * static_cast<double>(trained) / static_cast<double>(model_->table().num_parameters()));
    if (const LoraParameters* const adapters = trainer_.adapters())
      log::info("adapters: rank {}, alpha {}, of {} in {}: {}", adapters->rank, finetune().lora.alpha,
                fmt::join(finetune().lora.targets, ", "),
                counted(static_cast<int64_t>(adapters->targets.size()), "tensor"),
                fmt::join(names_of(*adapters), ", "));
    if (teacher_)
      log::info("teacher: {}, {} parameters: {:g} of the loss, temperature {:g}", source_model_.teacher->folder.string(),
                teacher_->table().num_parameters(), finetune().teacher_alpha, finetune().teacher_temperature);
    for (const FinetuneSource& source : sources_)
      log::info("{}: {} of {} to train on", source.name, counted(static_cast<int64_t>(source.train.size()), "text"),
                source.train_split);
    log::info("run: {} epochs of {} x {}, rate {:g}, seed {}", finetune().epochs,
              counted(loader_.steps_per_epoch(), "step"), counted(train().batch_sequences, "text"), trial_.lr,
              trial_.seed);
    if (options_.ranks) summary_.describe(*options_.ranks);
  }

  void step() {
    summary_.begin_step();
    const Clock::time_point start = Clock::now();
    const StepStats stats = trainer_.step();
    const double seconds = seconds_since(start);
    summary_.end_step(seconds);
    state_.add(stats, seconds);
    if (options_.step && folder_.leads()) options_.step(stats, train().steps, seconds);
    if (state_.step % train().log_every != 0 && state_.step != train().steps) return;
    // Most of what runs through the model is not scored, so no FLOPs belong to a token.
    StepLine line = train_line(stats, state_.interval, state_.totals, 0.0, kNan);
    if (teacher_) line.divergence = state_.interval.loss.divergence / static_cast<double>(state_.interval.loss.tokens);
    write(json_of(line));
    state_.interval = {};
  }

  FinetuneLine line(const FinetuneSource& source, const std::string& split) const {
    return {.step = state_.step,
            .task = source.name,
            .setting = state_.step == 0 ? "zero-shot" : "fine-tuned",
            .split = split,
            .epoch = state_.step / loader_.steps_per_epoch(),
            .metric = "nll",
            .accuracy = kNan,
            .nll = kNan,
            .std_error = kNan,
            .chance = kNan,
            .lr = trial_.lr,
            .seed = trial_.seed};
  }

  // Of a model that each rank has the whole of: batches are those of one process, and dealt out.
  FinetuneLine of_task(LanguageModel& model, const FinetuneSource& source, const TaskSplits::Split& split) {
    const bool before = state_.step == 0;
    TaskData data = split.data;
    if (!before)
      for (Item& item : data.items) item.calibrations.clear();
    const TaskFile& task = before ? source.task->zero_shot : source.task->tuned;
    TaskOptions options{.data_dir = finetune().data_dir};
    options.requests.ranks = options_.ranks;
    const TaskReport report =
        run_task(model, source_model_.tokenizer, task, options, data, [&](double) { stop_if(own_interrupted()); });
    const TaskFigure& figure = report.figures.front();
    FinetuneLine made = line(source, split.name);
    made.metric = figure.metric, made.accuracy = figure.value, made.std_error = figure.item_error;
    made.n = figure.n, made.chance = figure.chance;
    return made;
  }

  FinetuneLine of_texts(LanguageModel& model, const FinetuneSource& source) {
    constexpr size_t kAtATime = 16;
    LossSum sum;
    SharedBatches<LossSum> shared(options_.ranks, [&](const std::vector<LossSum>& scored) {
      stop_if(own_interrupted());
      for (const LossSum& one : scored) sum += one;
    });
    const std::vector<Batch> batches = batches_of(source.held_out, kAtATime, filling());
    for (const Batch& batch : batches)
      shared.add([&](std::vector<LossSum>& scored) { scored.push_back(model.score(batch, {})); });
    shared.finish();
    FinetuneLine made = line(source, "held out");
    made.nll = sum.nll / static_cast<double>(sum.tokens), made.n = sum.tokens;
    return made;
  }

  // Every source's line that chooses the epoch, then, if it is another, the one that is reported.
  std::vector<FinetuneLine> figures() {
    std::vector<FinetuneLine> lines;
    if (state_.step == 0 && !zero_shot_.empty()) {
      lines = zero_shot_;
      for (FinetuneLine& line : lines) line.lr = trial_.lr, line.seed = trial_.seed;
      return lines;
    }
    const std::unique_ptr<LanguageModel> whole = options_.ranks ? model_->whole() : nullptr;
    LanguageModel& model = whole ? *whole : *model_;
    for (const FinetuneSource& source : sources_) {
      if (!source.task) {
        lines.push_back(of_texts(model, source));
        continue;
      }
      lines.push_back(of_task(model, source, source.task->select));
      if (source.task->test.name != source.task->select.name)
        lines.push_back(of_task(model, source, source.task->test));
    }
    return lines;
  }

  // All or nothing, as a validation in pretraining. A new best is a checkpoint, of which best/ is the export.
  void evaluate() {
    const std::vector<FinetuneLine> lines = figures();
    for (const FinetuneLine& line : lines) write(json_of(line));
    state_.validated_step = state_.step;
    if (state_.step == 0) return;
    double loss = 0.0;
    for (const FinetuneSource& source : sources_)
      loss += std::ranges::find_if(lines, [&](const FinetuneLine& line) { return line.task == source.name; })->loss();
    loss /= static_cast<double>(sources_.size());
    const bool better = state_.best.step < 0 || loss < state_.best.nll;
    if (better)
      state_.best = {.step = state_.step, .nll = loss, .since = 0};
    else
      ++state_.best.since;
    checkpoint(SaveMode::kNow);
    if (better) folder_.export_model(folder_.newest(), folder_.files().best());
  }

  void checkpoint(SaveMode mode) {
    saving([&] {
      trainer_.require_finite_moments();
      folder_.save(state_, trainer_, tokenizer_json_, mode);
    });
    summary_.count_checkpoint();
  }

  // Training waits for it.
  void saving(const std::function<void()>& work) {
    const Clock::time_point start = Clock::now();
    work();
    summary_.add_saving(seconds_since(start));
  }

  void write_summary() {
    summary_.finish();
    if (folder_.leads()) write_json_file(folder_.files().summary(), json_of(summary_));
  }

  // The model's; where it has its tokenizer in other files, the run has it as tokenizer.json.
  std::filesystem::path tokenizer_json() const {
    if (const auto own = source_model_.folder / kTokenizerFile; std::filesystem::exists(own)) return own;
    const std::filesystem::path made = folder_.files().tokenizer();
    if (folder_.leads()) source_model_.tokenizer.save(made.string());
    return made;
  }

  // The best epoch's.
  void export_adapter() {
    ParameterStore<float> values(trainer_.adapters()->table);
    load_adapters(folder_.files().best(), values);
    AtomicDirectory out(folder_.files().adapter());
    const ModelConfig& config = trial_.config.model;
    const int64_t modules =
        write_peft_adapter(out.path(), *trainer_.adapters(), values, config,
                           find_hf_family(config, model_family(source_model_.folder)),
                           {.base_model = finetune().model,
                            .alpha = finetune().lora.alpha,
                            .dropout = finetune().lora.dropout,
                            .base = open_parameters(source_model_.folder, make_parameter_table(config)).read});
    out.commit(AtomicDirectory::Existing::kReplace);
    log::info("adapter: {}, of {}", folder_.files().adapter().string(), counted(modules, "module"));
  }

  void write(ordered_json line) {
    if (!folder_.leads()) return;
    add_provenance(line, to_string(precision_));
    metrics_->append(line);
    if (options_.line) options_.line(line);
  }

  const Trial& trial_;
  const std::vector<FinetuneSource>& sources_;
  const std::vector<FinetuneLine>& zero_shot_;
  const FinetuneModel& source_model_;
  const FinetuneOptions& options_;
  Precision precision_;
  RunFolder folder_;
  TextLoader loader_;
  std::unique_ptr<LanguageModel> model_, teacher_;
  Trainer trainer_;
  TrainState state_;
  RunSummary summary_;
  std::optional<MetricsFile> metrics_;
  std::filesystem::path tokenizer_json_;
};

}  // namespace

bool run_trial(const Trial& trial, const std::vector<FinetuneSource>& sources,
               const std::vector<FinetuneLine>& zero_shot, const FinetuneModel& model, const std::string& where,
               const FinetuneOptions& options) {
  return TrialRun(trial, sources, zero_shot, model, where, options).go();
}

}  // namespace troupe
