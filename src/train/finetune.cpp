#include "train/finetune.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "base/error.h"
#include "base/log.h"
#include "base/quantity.h"
#include "dist/communicator.h"
#include "eval/statistics.h"
#include "io/atomic_file.h"
#include "io/json_fields.h"
#include "io/provenance.h"
#include "io/toml_config.h"
#include "model/flops.h"
#include "model/model_directory.h"
#include "train/finetune_trial.h"
#include "train/run_folder.h"

namespace troupe {
namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

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

// The first rank reads what it wrote, for all.
std::string read_file_on_first(Communicator* ranks, const fs::path& path) {
  constexpr const char* kPlace = "the run's folder";
  std::string text;
  run_on_first(ranks, [&] { text = read_file(path); }, kPlace);
  return ranks ? ranks->texts(text, kPlace).front() : text;
}

// The figures of a run that is over, as its metrics tell them.
struct TrialFigures {
  std::vector<FinetuneLine> lines;

  TrialFigures(const fs::path& folder, Communicator* ranks) {
    const fs::path path = RunFiles{folder}.metrics();
    const std::string text = read_file_on_first(ranks, path);
    int64_t number = 0;
    for (size_t begin = 0, end; (end = text.find('\n', begin)) != text.npos; begin = end + 1) {
      ++number;
      const auto json = nlohmann::json::parse(text.begin() + static_cast<int64_t>(begin),
                                              text.begin() + static_cast<int64_t>(end), nullptr, false);
      if (!json.is_object() || !json.contains("schema") || json["schema"] != FinetuneLine::kSchema) continue;
      read_json_fields(json, fmt::format("{}:{}", path.string(), number), lines.emplace_back());
    }
  }

  const FinetuneLine* find(const std::string& task, const std::string& split, int64_t epoch) const {
    for (const FinetuneLine& line : lines)
      if (line.task == task && line.split == split && line.epoch == epoch) return &line;
    return nullptr;
  }
  std::vector<FinetuneLine> of_epoch(int64_t epoch) const {
    std::vector<FinetuneLine> found;
    for (const FinetuneLine& line : lines)
      if (line.epoch == epoch) found.push_back(line);
    return found;
  }
  const FinetuneLine& at(const std::string& task, const std::string& split, int64_t epoch) const {
    if (const FinetuneLine* const line = find(task, split, epoch)) return *line;
    fail(ErrorCode::kData, "expected a figure of {} ({}) after epoch {}, got none", task, split, epoch);
  }
};

int64_t steps_per_epoch(const std::vector<FinetuneSource>& sources, int64_t batch) {
  int64_t texts = 0;
  for (const FinetuneSource& source : sources) texts += static_cast<int64_t>(source.train.size());
  return (texts + batch - 1) / batch;
}

// What the training texts of an epoch take: `tokens`, `row_tokens` and `train_flops` of one training.
void add_size(const std::vector<FinetuneSource>& sources, const ModelConfig& model, FinetunePlanLine& plan) {
  const int64_t usual = std::min(model.context, kRowTokens);  // short texts share rows
  plan.row_tokens = usual;
  std::map<int64_t, int64_t> tokens_of_rows;  // by the length of the rows that texts need
  for (const FinetuneSource& source : sources)
    for (const TrainingText& text : source.train) tokens_of_rows[std::max(usual, text.inputs())] += text.inputs();
  for (const auto& [row, tokens] : tokens_of_rows) {
    plan.row_tokens = row;
    plan.tokens += tokens;
    plan.train_flops += static_cast<double>(tokens) * train_flops_per_token(model, row);
  }
}

std::string select_split(const FinetuneSource& source) { return source.task ? source.task->select.name : "held out"; }
std::string test_split(const FinetuneSource& source) { return source.task ? source.task->test.name : "held out"; }

// A training that has ended, and what it says by validation.
struct DoneTrial {
  const Trial* trial;
  TrialFigures figures;
  int64_t epoch = 0;  // the best; 0: of none there are finite figures, or it diverged
  double loss = std::numeric_limits<double>::infinity();
};

DoneTrial done_trial(const Trial& trial, const std::vector<FinetuneSource>& sources, int64_t epochs,
                     Communicator* ranks) {
  DoneTrial done{&trial, TrialFigures(trial.folder, ranks)};
  for (int64_t epoch = 1; epoch <= epochs; ++epoch) {
    double loss = 0.0;
    bool seen = true;
    for (const FinetuneSource& source : sources) {
      const FinetuneLine* const line = done.figures.find(source.name, select_split(source), epoch);
      seen &= line != nullptr;
      if (seen) loss += line->loss();
    }
    if (seen && loss < done.loss) done.loss = loss, done.epoch = epoch;
  }
  return done;
}

// The rate that is best over all seeds; the first of equals.
double best_rate(const std::vector<double>& rates, const std::vector<DoneTrial>& trials) {
  return *std::ranges::min_element(rates, {}, [&](double lr) {
    double loss = 0.0;
    for (const DoneTrial& done : trials)
      if (done.trial->lr == lr) loss += done.loss;
    return loss;
  });
}

// `trials`: the seeds of the best rate.
FinetuneResultLine result_of(const FinetuneSource& source, const std::vector<DoneTrial>& trials, const fs::path& model,
                             const std::vector<double>& diverged) {
  FinetuneResultLine line{.task = source.name, .split = test_split(source), .chosen_by = select_split(source)};
  for (const DoneTrial& done : trials) {
    const FinetuneLine& figure = done.figures.at(source.name, line.split, done.epoch);
    const FinetuneLine& before = done.figures.at(source.name, line.split, 0);
    const bool nll = figure.metric == "nll";
    line.values.push_back(nll ? figure.nll : figure.accuracy);
    line.metric = figure.metric, line.n = figure.n, line.zero_shot = nll ? before.nll : before.accuracy;
    line.lr = figure.lr;  // with which it was trained, also where the configuration names another by now
    line.epochs.push_back(done.epoch), line.seeds.push_back(done.trial->seed);
  }
  const Estimate mean = mean_of(line.values);
  line.value = mean.value, line.model = model.string(), line.diverged = diverged;
  line.interval_half = half_interval95(mean.standard_error, static_cast<int64_t>(line.values.size()));
  return line;
}

void check_ranks(const RunConfig& config, const std::string& where, const FinetuneOptions& options) {
  if (!options.ranks) return;
  const int ranks = options.ranks->size();
  if (options.dry_run) fail(ErrorCode::kUsage, "--dry-run: expected one process, got {} ranks", ranks);
  check_one_process_keys(config, where, ranks);
}

bool is_complete(const fs::path& folder) {
  return fs::exists(folder) && has_weights(RunFiles{folder}.model()) && RunHistory(folder).end() == "complete";
}

// What is learnt by trainings at every rate and with every seed.
struct Group {
  std::vector<FinetuneSource> sources;
  fs::path root;
  std::vector<Trial> trials;
  FinetunePlanLine plan;
};

bool has_several_trials(const FinetuneConfig& settings) { return settings.lr.size() * settings.seeds.size() > 1; }

// That several trainings do not begin in the folder of one, nor one in that of several.
void check_number(const fs::path& folder, int64_t trainings) {
  if (trainings > 1 && RunHistory(folder).has_started())
    fail(ErrorCode::kUsage, "{}: expected a folder for {} trainings, got that of one (name another)", folder.string(),
         trainings);
  std::error_code none;
  if (trainings > 1) return;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder, none))
    if (entry.is_directory(none) && RunHistory(entry.path()).has_started())
      fail(ErrorCode::kUsage, "{}: expected a folder for one training, got that of several, as {} (name another)",
           folder.string(), entry.path().filename().string());
}

// That what is complete of several trainings, and stays, had the settings of those that are to come. Both are read as they
// are written, paths as the folder has them.
void check_complete(const Trial& trial) {
  if (!is_complete(trial.folder)) return;
  const fs::path written = RunFiles{trial.folder}.config();
  RunConfig before = finetune_keys(), now = finetune_keys();
  FieldList fields_before = fields_of(before), fields_now = fields_of(now);
  read_config_text(read_file(written), written.string(), trial.folder, fields_before);
  read_config_text(to_toml_in(trial.folder, fields_of(trial.config)), written.string(), trial.folder, fields_now);
  const auto changed = differences_of_results(fields_before, fields_now, "the training", "the configuration");
  if (!changed.empty())
    fail(ErrorCode::kUsage,
         "{}: expected the settings of this training, which is complete, got {} (name another folder, or remove this "
         "one)",
         trial.folder.string(), fmt::join(changed, "; "));
}

// Everything is read and checked before anything is trained.
std::vector<Group> make_groups(const RunConfig& config, const std::string& where, const FinetuneOptions& options,
                               const FinetuneModel& model) {
  const FinetuneConfig& settings = *config.finetune;
  std::vector<std::vector<std::string>> tasks_of_groups;
  if (settings.together || settings.tasks.size() < 2)
    tasks_of_groups = {settings.tasks};
  else
    for (const std::string& task : settings.tasks) tasks_of_groups.push_back({task});
  std::vector<Group> groups;
  for (const std::vector<std::string>& tasks : tasks_of_groups) {
    FinetuneConfig of_group = settings;
    of_group.tasks = tasks;
    Group& group = groups.emplace_back();
    group.sources = load_finetune_sources(of_group, model, where);
    group.root = tasks_of_groups.size() > 1 ? options.run / group.sources.front().name : options.run;
    if (std::ranges::count(groups, group.root, &Group::root) > 1)
      fail(ErrorCode::kUsage, "{}: finetune.tasks: expected each name once, got {} twice", where,
           group.sources.front().name);
    const int64_t per_epoch = steps_per_epoch(group.sources, settings.batch_sequences);
    for (const double lr : settings.lr)
      for (const int64_t seed : settings.seeds)
        group.trials.push_back(
            {.lr = lr,
             .seed = seed,
             .folder = has_several_trials(settings) ? group.root / fmt::format("lr-{}-seed-{}", lr, seed) : group.root,
             .config = config_of(config, tasks, lr, seed, per_epoch, where)});
    check_number(group.root, static_cast<int64_t>(group.trials.size()));
    for (const Trial& trial : group.trials) {
      static_cast<void>(find_start(RunFiles{trial.folder}, options.resume));
      if (options.resume && has_several_trials(settings)) check_complete(trial);
    }
    FinetunePlanLine& plan = group.plan;
    plan.trainings = static_cast<int64_t>(group.trials.size()), plan.epochs = settings.epochs;
    plan.updates = per_epoch;
    for (const FinetuneSource& source : group.sources)
      plan.learnt.push_back(source.name), plan.texts += static_cast<int64_t>(source.train.size());
    add_size(group.sources, config.model, plan);
    plan.train_flops *= static_cast<double>(plan.trainings * plan.epochs);
  }
  if (groups.size() > 1) check_number(options.run, static_cast<int64_t>(groups.size() * groups.front().trials.size()));
  return groups;
}

// What there is of a trial, as the first rank sees it.
struct Begun {
  bool exists = false, is_complete = false;
  bool has_diverged = false;  // with these settings, and would again
};
Begun begun(const Trial& trial, Communicator* ranks) {
  constexpr const char* kPlace = "the run's folder";
  Begun own;
  run_on_first(ranks, [&] {
    const fs::path config = RunFiles{trial.folder}.config();
    own = {.exists = fs::exists(trial.folder), .is_complete = is_complete(trial.folder)};
    own.has_diverged = RunHistory(trial.folder).has_diverged() && fs::exists(config) &&
                       read_file(config) == to_toml_in(trial.folder, fields_of(trial.config));
  }, kPlace);
  return ranks ? ranks->all_of(own, kPlace).front() : own;
}

// The trainings of a group that have ended, and the rates that diverged, of which the rest is left out.
struct Trained {
  std::vector<DoneTrial> trials;
  std::vector<double> diverged;
};

// Of the best rate; the model of its best seed becomes the group's.
std::vector<FinetuneResultLine> results_of(const Group& group, const Trained& trained, const FinetuneConfig& settings,
                                           Communicator* ranks) {
  std::vector<DoneTrial> done = trained.trials;
  const double best_lr = best_rate(settings.lr, done);
  std::erase_if(done, [&](const DoneTrial& trial) { return trial.trial->lr != best_lr; });
  for (const DoneTrial& trial : done)
    if (trial.epoch == 0)
      fail(ErrorCode::kData, "{}: expected finite figures of an epoch, got none",
           RunFiles{trial.trial->folder}.metrics().string());
  const DoneTrial& best = *std::ranges::min_element(done, {}, &DoneTrial::loss);
  const RunFiles from{best.trial->folder}, to{group.root};
  const auto copy = [&] {
    if (!has_several_trials(settings)) return;
    copy_model(from.model(), to.model());
    if (settings.lora.is_used()) copy_adapter(from.adapter(), to.adapter());
  };
  run_on_first(ranks, copy, "the run's folder");
  std::vector<FinetuneResultLine> lines;
  for (const FinetuneSource& source : group.sources) lines.push_back(result_of(source, done, to.model(), trained.diverged));
  return lines;
}

// Says, on all ranks, that a training of several rates diverged; any other error goes on.
void pass_over_divergence(const Error& error, const Trial& trial, Communicator* ranks) {
  if (error.code() != ErrorCode::kNonFinite || (ranks && !dynamic_cast<const SharedError*>(&error))) throw;
  if (leads(ranks))
    log::warning("{}: diverged, and counts as worse than every other rate: {}", trial.folder.string(), error.what());
}

// All that is left of a group's trainings; nothing if it was interrupted.
std::optional<Trained> train_group(const Group& group, bool has_others, const FinetuneConfig& settings,
                                   const FinetuneModel& model, const std::string& where,
                                   const FinetuneOptions& options) {
  const bool several = has_several_trials(settings), rates = settings.lr.size() > 1;
  Trained trained;
  for (const Trial& trial : group.trials) {
    if (!trained.diverged.empty() && trained.diverged.back() == trial.lr) continue;  // no other seed makes it the best
    const Begun before = begun(trial, options.ranks);
    bool diverged = rates && options.resume && before.has_diverged;
    if (diverged) {
      if (leads(options.ranks))
        log::warning("{}: diverged before, and counts as worse than every other rate", trial.folder.string());
    } else if (!(several && options.resume && before.is_complete)) {
      FinetuneOptions of_trial = options;
      if (several || has_others)  // those that an interrupted sweep had not begun begin now
        of_trial.resume = options.resume && before.exists;
      const std::vector<FinetuneLine> zero_shot =
          trained.trials.empty() ? std::vector<FinetuneLine>{} : trained.trials.front().figures.of_epoch(0);
      try {
        if (!run_trial(trial, group.sources, zero_shot, model, where, of_trial)) return std::nullopt;
      } catch (const Error& error) {
        if (!rates) throw;
        pass_over_divergence(error, trial, options.ranks);
        diverged = true;
      }
    }
    if (diverged) {
      trained.diverged.push_back(trial.lr);
      if (trained.diverged.size() == settings.lr.size())
        fail(ErrorCode::kNonFinite, "{}: expected a rate that does not diverge, got {} in finetune.lr",
             group.root.string(), fmt::join(settings.lr, ", "));
      trained.trials.push_back({&trial, TrialFigures(trial.folder, options.ranks)});
    } else {
      trained.trials.push_back(done_trial(trial, group.sources, settings.epochs, options.ranks));
    }
  }
  return trained;
}

}  // namespace

FinetuneResult finetune(const RunConfig& config, const std::string& where, const FinetuneOptions& options) {
  const FinetuneConfig& settings = *config.finetune;
  std::optional<FinetuneModel> model;
  std::vector<Group> groups;
  const auto read = [&] {
    check_ranks(config, where, options);
    model.emplace(load_finetune_model(settings, where));
    groups = make_groups(config, where, options, *model);
  };
  run_together(options.ranks, read, "reading model and data");
  FinetuneResult result;
  int64_t trainings = 0;
  double flops = 0.0;
  for (const Group& group : groups) {
    result.plan.push_back(group.plan);
    trainings += group.plan.trainings, flops += group.plan.train_flops;
  }
  if (options.dry_run) return result;
  if (options.planned) options.planned(result.plan);
  log::info("fine-tuning: {} of {}, {:.3g} FLOPs in all", counted(trainings, "training"),
            counted(settings.epochs, "epoch"), flops);

  for (const Group& group : groups) {
    const std::optional<Trained> trained = train_group(group, groups.size() > 1, settings, *model, where, options);
    if (!trained) {
      result.interrupted = true;
      return result;
    }
    for (FinetuneResultLine& line : results_of(group, *trained, settings, options.ranks)) {
      ordered_json json = json_of(line);
      add_provenance(json, to_string(precision_of(config.train.precision)));
      if (options.line && leads(options.ranks)) options.line(json);
      result.results.push_back(std::move(line));
    }
  }
  return result;
}

}  // namespace troupe
