#include "train/finetune.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "base/quantity.h"
#include "data/shards/model_tokenizer.h"
#include "eval/journal.h"
#include "eval/statistics.h"
#include "io/atomic_file.h"
#include "io/json_fields.h"
#include "io/provenance.h"
#include "model/flops.h"
#include "model/hf/hf_write.h"
#include "model/hf/peft.h"
#include "model/model_directory.h"
#include "train/freeze.h"
#include "train/gradients.h"
#include "train/metrics.h"
#include "train/run_folder.h"

namespace troupe {
namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

std::string rate_name(double lr) { return fmt::format("{:g}", lr); }

// One training.
struct Trial {
  double lr = 0.0;
  int64_t seed = 0;
  fs::path folder;
  RunConfig config;
};

// Some keys of [train] follow from [finetune] and the data; a file that a run recorded has them too.
RunConfig config_of(const RunConfig& config, const std::vector<std::string>& tasks, double lr, int64_t seed,
                    int64_t steps_per_epoch, const std::string& where) {
  RunConfig trial = config;
  trial.finetune->tasks = tasks, trial.finetune->lr = {lr}, trial.finetune->seeds = {seed},
  trial.finetune->sweep = false;
  const TrainConfig usual;
  const auto decide = [&](const char* key, auto& value, const auto& default_value, const auto& decided) {
    if (value != default_value && value != decided)
      fail(ErrorCode::kUsage, "{}: {}: expected none or {}, which follows from [finetune] and the data, got {}", where,
           key, decided, value);
    value = decided;
  };
  TrainConfig& train = trial.train;
  decide("train.steps", train.steps, usual.steps, trial.finetune->epochs * steps_per_epoch);
  decide("train.batch_sequences", train.batch_sequences, usual.batch_sequences, trial.finetune->batch_sequences);
  decide("train.seed", train.seed, usual.seed, seed);
  decide("train.schedule.lr", train.schedule.lr, usual.schedule.lr, lr);
  decide("train.keep_best", train.keep_best, usual.keep_best, true);
  return trial;
}

struct Stopped {};

std::vector<std::string> names_of(const LoraParameters& adapters) {
  std::vector<std::string> names;
  for (const LoraTarget& target : adapters.targets) names.push_back(target.weight.name);
  return names;
}

class TrialRun {
 public:
  TrialRun(const Trial& trial, const std::vector<FinetuneSource>& sources, const FinetuneModel& model,
           const std::string& model_sum, const std::string& where, const FinetuneOptions& options)
      : trial_(trial),
        sources_(sources),
        source_model_(model),
        options_(options),
        precision_(precision_of(trial.config.train.precision)),
        folder_(trial.folder, to_string(precision_)),
        loader_(text_sources(where), loader_options()),
        model_(loaded()),
        trainer_(*model_, Schedule(trial.config.train.schedule, trial.config.train.steps), trainer_options(),
                 [this](int64_t step, int64_t micro) { return loader_.batch(step, micro); }),
        state_(folder_.begin({.config = trial.config,
                              .where = where,
                              .data = identities(model_sum),
                              .steps = trial.config.train.steps,
                              .resume = options.resume},
                             trainer_, [] {})) {}

  // False if it was interrupted.
  bool go() {
    metrics_.emplace(folder_.files().metrics(), state_.step);
    describe();
    try {
      while (true) {
        if (evaluation_due()) evaluate();
        if (finished()) break;
        if (interrupted()) throw Stopped();
        step();
        const int64_t every = trial_.config.train.checkpoint_every;
        if (every > 0 && state_.step % every == 0 && !evaluation_due()) checkpoint();
      }
      if (state_.step > 0 && folder_.newest().step != state_.step) checkpoint();
      folder_.export_model({.folder = folder_.files().best(), .step = state_.best.step}, folder_.files().model());
      if (trainer_.adapters()) export_adapter();
      log::info("model: {}, of epoch {}", folder_.files().model().string(),
                state_.best.step / loader_.steps_per_epoch());
      folder_.record("complete", state_, {{"best_step", state_.best.step}});
      return true;
    } catch (const Stopped&) {
      if (folder_.newest().step != state_.step) checkpoint();
      folder_.record("interrupted", state_);
      return false;
    } catch (const Error& error) {
      folder_.record_failure(error.what(), state_);
      throw;
    }
  }

 private:
  const TrainConfig& train() const { return trial_.config.train; }
  const FinetuneConfig& finetune() const { return *trial_.config.finetune; }
  bool interrupted() const { return options_.interrupted && options_.interrupted(); }
  void stop_if_interrupted() const {
    if (interrupted()) throw Stopped();
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
  std::vector<TextSource> text_sources(const std::string& where) const {
    const std::map<std::string, double> weights = [&] {
      DataConfig data;
      data.weights = finetune().weights;
      return data_weights(data, where);
    }();
    std::vector<TextSource> texts;
    for (const FinetuneSource& source : sources_) {
      const auto weight = weights.find(source.name);
      if (!weights.empty() && weight == weights.end())
        fail(ErrorCode::kUsage,
             "{}: finetune.weights: expected a share of everything that is learnt or of nothing, got none of {}", where,
             source.name);
      texts.push_back({source.name, source.train, weights.empty() ? 0.0 : weight->second});
    }
    if (!weights.empty() && weights.size() != sources_.size())
      fail(ErrorCode::kUsage, "{}: finetune.weights: expected names of tasks, text and answers, got another one",
           where);
    return texts;
  }
  std::vector<DatasetIdentity> identities(const std::string& model_sum) const {
    std::vector<DatasetIdentity> list = {{.name = "model", .checksum = model_sum}};
    for (const TextSource& source : loader_.sources()) {
      DatasetIdentity identity{.name = source.name, .weight = source.weight};
      for (const FinetuneSource& given : sources_)
        if (given.name == source.name) identity.checksum = given.checksum;
      for (const TrainingText& text : source.texts) identity.tokens += text.inputs();
      list.push_back(identity);
    }
    return list;
  }

  std::unique_ptr<LanguageModel> loaded() const {
    auto model = std::make_unique<LanguageModel>(trial_.config.model, precision_,
                                                 DecoderOptions{.recompute = train().recompute});
    load_parameters(source_model_.folder, model->params());
    return model;
  }

  TrainerOptions trainer_options() {
    TrainerOptions options = troupe::trainer_options(train());
    if (const LoraConfig& lora = finetune().lora; lora.is_used()) {
      options.lora = LoraOptions{.adapted = lora_targets(lora.targets),
                                 .rank = lora.rank,
                                 .scale = lora.scale(),
                                 .seed = static_cast<uint64_t>(train().seed)};
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
    constexpr int64_t kTexts = 1024, kAtATime = 32;
    std::vector<RouterStats> use;
    for (const FinetuneSource& source : sources_) {
      const int64_t count = std::min<int64_t>(kTexts, static_cast<int64_t>(source.train.size()));
      for (int64_t begin = 0; begin < count; begin += kAtATime) {
        std::vector<const TrainingText*> texts;
        for (int64_t i = begin; i < std::min(count, begin + kAtATime); ++i)
          texts.push_back(&source.train[static_cast<size_t>(i)]);
        static_cast<void>(model_->score(pack(texts, filling()), {}));
        const std::span<const RouterStats> stats = model_->router_stats();
        use.resize(stats.size());
        for (size_t i = 0; i < use.size(); ++i) use[i] += stats[i], use[i].layer = stats[i].layer;
      }
    }
    return use;
  }

  void describe() const {
    int64_t trained = 0;
    for (const Parameter& parameter : trainer_.gradients().entries()) trained += parameter.size();
    log::info("model: {} parameters, of which {} are trained ({:.1f} %)", model_->table().num_parameters(), trained,
              100.0 * static_cast<double>(trained) / static_cast<double>(model_->table().num_parameters()));
    if (const LoraParameters* const adapters = trainer_.adapters())
      log::info("adapters: rank {}, alpha {}, of {} in {}: {}", adapters->rank, finetune().lora.alpha,
                fmt::join(finetune().lora.targets, ", "),
                counted(static_cast<int64_t>(adapters->targets.size()), "tensor"),
                fmt::join(names_of(*adapters), ", "));
    for (const FinetuneSource& source : sources_)
      log::info("{}: {} of {} to train on", source.name, counted(static_cast<int64_t>(source.train.size()), "text"),
                source.train_split);
    log::info("run: {} epochs of {} x {}, rate {}, seed {}", finetune().epochs,
              counted(loader_.steps_per_epoch(), "step"), counted(train().batch_sequences, "text"),
              rate_name(trial_.lr), trial_.seed);
  }

  void step() {
    const Clock::time_point start = Clock::now();
    const StepStats stats = trainer_.step();
    const double seconds = seconds_since(start);
    state_.add(stats, seconds);
    if (options_.step) options_.step(stats, train().steps, seconds);
    if (state_.step % train().log_every != 0 && state_.step != train().steps) return;
    // Most of what runs through the model is not scored, so no FLOPs belong to a token.
    write(json_of(train_line(stats, state_.interval, state_.totals, 0.0, kNan)));
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

  FinetuneLine of_task(const FinetuneSource& source, const TaskSplits::Split& split) {
    const bool before = state_.step == 0;
    TaskData data = split.data;
    if (!before)
      for (Item& item : data.items) item.calibrations.clear();
    const TaskFile& task = before ? source.task->zero_shot : source.task->tuned;
    const TaskReport report = run_task(*model_, source_model_.tokenizer, task, {.data_dir = finetune().data_dir}, data,
                                       [&](double) { stop_if_interrupted(); });
    const TaskFigure& figure = report.figures.front();
    FinetuneLine made = line(source, split.name);
    made.metric = figure.metric, made.accuracy = figure.value, made.std_error = figure.item_error;
    made.n = figure.n, made.chance = figure.chance;
    return made;
  }

  FinetuneLine of_texts(const FinetuneSource& source) {
    constexpr size_t kAtATime = 16;
    LossSum sum;
    for (size_t begin = 0; begin < source.held_out.size(); begin += kAtATime) {
      stop_if_interrupted();
      std::vector<const TrainingText*> texts;
      for (size_t i = begin; i < std::min(source.held_out.size(), begin + kAtATime); ++i)
        texts.push_back(&source.held_out[i]);
      sum += model_->score(pack(texts, filling()), {});
    }
    FinetuneLine made = line(source, "held out");
    made.nll = sum.nll / static_cast<double>(sum.tokens), made.n = sum.tokens;
    return made;
  }

  // All or nothing, as a validation in pretraining. A new best is a checkpoint, of which best/ is the export.
  void evaluate() {
    std::vector<FinetuneLine> lines;
    double loss = 0.0;
    for (const FinetuneSource& source : sources_) {
      if (!source.task) {
        lines.push_back(of_texts(source));
        loss += lines.back().loss();
        continue;
      }
      lines.push_back(of_task(source, source.task->select));
      loss += lines.back().loss();
      if (source.task->test.name != source.task->select.name) lines.push_back(of_task(source, source.task->test));
    }
    for (const FinetuneLine& line : lines) write(json_of(line));
    state_.validated_step = state_.step;
    if (state_.step == 0) return;
    loss /= static_cast<double>(sources_.size());
    const bool better = state_.best.step < 0 || loss < state_.best.nll;
    if (better)
      state_.best = {.step = state_.step, .nll = loss, .since = 0};
    else
      ++state_.best.since;
    checkpoint();
    if (better) folder_.export_model(folder_.newest(), folder_.files().best());
  }

  void checkpoint() {
    trainer_.require_finite_moments();
    folder_.save(state_, trainer_, source_model_.folder / "tokenizer.json");
  }

  // The best epoch's.
  void export_adapter() {
    ParameterStore<float> values(trainer_.adapters()->table);
    load_adapters(folder_.files().best(), values);
    AtomicDirectory out(folder_.files().adapter());
    const ModelConfig& config = trial_.config.model;
    const int64_t modules = write_peft_adapter(out.path(), *trainer_.adapters(), values, config,
                                               find_hf_family(config, model_family(source_model_.folder)),
                                               {.base_model = finetune().model, .alpha = finetune().lora.alpha});
    out.commit(AtomicDirectory::Existing::kReplace);
    log::info("adapter: {}, of {}", folder_.files().adapter().string(), counted(modules, "module"));
  }

  void write(ordered_json line) {
    add_provenance(line, to_string(precision_));
    metrics_->append(line);
    if (options_.line) options_.line(line);
  }

  const Trial& trial_;
  const std::vector<FinetuneSource>& sources_;
  const FinetuneModel& source_model_;
  const FinetuneOptions& options_;
  Precision precision_;
  RunFolder folder_;
  TextLoader loader_;
  std::unique_ptr<LanguageModel> model_;
  Trainer trainer_;
  TrainState state_;
  std::optional<MetricsFile> metrics_;
};

// The figures of a run that is over, as its metrics tell them.
struct TrialFigures {
  std::vector<FinetuneLine> lines;

  explicit TrialFigures(const fs::path& folder) {
    const fs::path path = RunFiles{folder}.metrics();
    const std::string text = read_file(path);
    int64_t number = 0;
    for (size_t begin = 0, end; (end = text.find('\n', begin)) != text.npos; begin = end + 1) {
      ++number;
      const auto json = nlohmann::json::parse(text.begin() + static_cast<int64_t>(begin),
                                              text.begin() + static_cast<int64_t>(end), nullptr, false);
      if (!json.is_object() || !json.contains("schema") || json["schema"] != FinetuneLine::kSchema) continue;
      read_json_fields(json, fmt::format("{}:{}", path.string(), number), lines.emplace_back());
    }
  }

  const FinetuneLine& at(const std::string& task, const std::string& split, int64_t epoch) const {
    for (const FinetuneLine& line : lines)
      if (line.task == task && line.split == split && line.epoch == epoch) return line;
    fail(ErrorCode::kData, "expected a figure of {} ({}) after epoch {}, got none", task, split, epoch);
  }
};

// A trial that has ended, and what it says by validation.
struct DoneTrial {
  const Trial* trial;
  TrialFigures figures;
  int64_t epoch = 0;
  double loss = 0.0;
};

int64_t steps_per_epoch(const std::vector<FinetuneSource>& sources, int64_t batch) {
  int64_t texts = 0;
  for (const FinetuneSource& source : sources) texts += static_cast<int64_t>(source.train.size());
  return (texts + batch - 1) / batch;
}

int64_t inputs_of(const std::vector<FinetuneSource>& sources) {
  int64_t inputs = 0;
  for (const FinetuneSource& source : sources)
    for (const TrainingText& text : source.train) inputs += text.inputs();
  return inputs;
}

std::string select_split(const FinetuneSource& source) { return source.task ? source.task->select.name : "held out"; }
std::string test_split(const FinetuneSource& source) { return source.task ? source.task->test.name : "held out"; }

void copy_adapter(const RunFiles& from, const RunFiles& to) {
  AtomicDirectory folder(to.adapter());
  for (const fs::directory_entry& file : fs::directory_iterator(from.adapter()))
    copy_into(file.path(), folder.path() / file.path().filename());
  folder.commit(AtomicDirectory::Existing::kReplace);
}

bool is_complete(const fs::path& folder) {
  return fs::exists(folder) && has_weights(RunFiles{folder}.model()) && RunHistory(folder).end() == "complete";
}

}  // namespace

FinetuneResult finetune(const RunConfig& config, const std::string& where, const FinetuneOptions& options) {
  const FinetuneConfig& settings = *config.finetune;
  const fs::path folder = find_model(settings.model);
  const FinetuneModel model{folder, read_model_config(folder),
                            load_model_tokenizer({}, folder, config.model).tokenizer};
  const std::string model_sum = model_checksum(folder);

  // Everything is read and checked before anything is trained.
  std::vector<std::vector<std::string>> groups;  // tasks of one training
  if (settings.together || settings.tasks.size() < 2)
    groups = {settings.tasks};
  else
    for (const std::string& task : settings.tasks) groups.push_back({task});
  std::vector<std::vector<FinetuneSource>> sources;
  std::vector<std::vector<Trial>> trials;
  const auto root_of = [&](const std::vector<FinetuneSource>& group) {
    return groups.size() > 1 ? options.run / group.front().name : options.run;
  };
  const bool several = settings.lr.size() * settings.seeds.size() > 1;
  FinetuneResult result;
  double flops = 0.0;
  for (const std::vector<std::string>& tasks : groups) {
    FinetuneConfig of_group = settings;
    of_group.tasks = tasks;
    sources.push_back(load_finetune_sources(of_group, model, where));
    const fs::path root = root_of(sources.back());
    std::vector<Trial>& list = trials.emplace_back();
    const int64_t per_epoch = steps_per_epoch(sources.back(), settings.batch_sequences);
    for (const double lr : settings.lr)
      for (const int64_t seed : settings.seeds)
        list.push_back({.lr = lr,
                        .seed = seed,
                        .folder = several ? root / fmt::format("lr-{}-seed-{}", rate_name(lr), seed) : root,
                        .config = config_of(config, tasks, lr, seed, per_epoch, where)});
    for (const Trial& trial : list) static_cast<void>(find_start(RunFiles{trial.folder}, options.resume));
    FinetunePlanLine& plan = result.plan.emplace_back();
    plan.trainings = static_cast<int64_t>(list.size()), plan.epochs = settings.epochs, plan.updates = per_epoch;
    plan.tokens = inputs_of(sources.back());
    for (const FinetuneSource& source : sources.back())
      plan.learnt.push_back(source.name), plan.texts += static_cast<int64_t>(source.train.size());
    plan.train_flops = static_cast<double>(plan.trainings * plan.epochs) * static_cast<double>(plan.tokens) *
                       train_flops_per_token(config.model, std::min(config.model.context, kRowTokens));
    flops += plan.train_flops;
  }
  if (options.dry_run) return result;
  int64_t trainings = 0;
  for (const FinetunePlanLine& plan : result.plan) trainings += plan.trainings;
  log::info("fine-tuning: {} of {}, {:.3g} FLOPs in all", counted(trainings, "training"),
            counted(settings.epochs, "epoch"), flops);

  for (size_t g = 0; g < groups.size(); ++g) {
    std::vector<DoneTrial> done;
    for (const Trial& trial : trials[g]) {
      const bool over = several && options.resume && is_complete(trial.folder);
      if (!over) {
        FinetuneOptions of_trial = options;
        if (several || groups.size() > 1)  // those that an interrupted sweep had not begun begin now
          of_trial.resume = options.resume && fs::exists(trial.folder);
        if (!TrialRun(trial, sources[g], model, model_sum, where, of_trial).go()) {
          result.interrupted = true;
          return result;
        }
      }
      DoneTrial& now = done.emplace_back(DoneTrial{&trial, TrialFigures(trial.folder)});
      now.loss = std::numeric_limits<double>::infinity();
      for (int64_t epoch = 1; epoch <= settings.epochs; ++epoch) {
        double loss = 0.0;
        bool seen = true;
        for (const FinetuneSource& source : sources[g]) {
          const auto line = std::ranges::find_if(now.figures.lines, [&](const FinetuneLine& candidate) {
            return candidate.task == source.name && candidate.epoch == epoch && candidate.split == select_split(source);
          });
          seen &= line != now.figures.lines.end();
          if (seen) loss += line->loss();
        }
        if (seen && loss < now.loss) now.loss = loss, now.epoch = epoch;
      }
    }
    // The rate that is best over all seeds; the first of equals.
    double best_loss = std::numeric_limits<double>::infinity(), best_lr = 0.0;
    for (const double lr : settings.lr) {
      double loss = 0.0;
      for (const DoneTrial& trial : done)
        if (trial.trial->lr == lr) loss += trial.loss;
      if (loss < best_loss) best_loss = loss, best_lr = lr;
    }
    std::erase_if(done, [&](const DoneTrial& trial) { return trial.trial->lr != best_lr; });
    const DoneTrial& best = *std::ranges::min_element(done, {}, &DoneTrial::loss);
    const fs::path to = RunFiles{root_of(sources[g])}.model();
    if (several) copy_model(RunFiles{best.trial->folder}.model(), to);
    if (several && settings.lora.is_used()) copy_adapter(RunFiles{best.trial->folder}, RunFiles{root_of(sources[g])});
    for (const FinetuneSource& source : sources[g]) {
      FinetuneResultLine line{.task = source.name, .split = test_split(source), .chosen_by = select_split(source)};
      std::vector<double> values;
      for (const DoneTrial& trial : done) {
        const FinetuneLine& figure = trial.figures.at(source.name, line.split, trial.epoch);
        const FinetuneLine& before = trial.figures.at(source.name, line.split, 0);
        const bool nll = figure.metric == "nll";
        values.push_back(nll ? figure.nll : figure.accuracy);
        line.metric = figure.metric, line.n = figure.n, line.zero_shot = nll ? before.nll : before.accuracy;
        line.epochs.push_back(trial.epoch), line.seeds.push_back(trial.trial->seed);
      }
      const Estimate mean = mean_of(values);
      line.value = mean.value, line.lr = best_lr, line.model = to.string();
      line.interval_half =
          values.size() > 1 ? student_t(0.95, static_cast<int64_t>(values.size()) - 1) * mean.standard_error : kNan;
      ordered_json json = json_of(line);
      add_provenance(json, to_string(precision_of(config.train.precision)));
      if (options.line) options.line(json);
      result.results.push_back(std::move(line));
    }
  }
  return result;
}

}  // namespace troupe
