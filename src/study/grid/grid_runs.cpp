#include "study/grid/grid_runs.h"

#include <fmt/core.h>

#include <cmath>

#include "base/device.h"
#include "base/energy.h"
#include "base/error.h"
#include "base/log.h"
#include "base/log_prefix.h"
#include "base/quantity.h"
#include "data/shards/dataset.h"
#include "io/atomic_file.h"
#include "io/checksum.h"
#include "io/provenance.h"
#include "model/model_directory.h"
#include "study/grid/claim.h"
#include "study/grid/sample.h"
#include "study/model_evaluation.h"
#include "train/pretrain.h"
#include "train/run_folder.h"

namespace troupe {
namespace {

namespace fs = std::filesystem;

// Of all that runs read and are scored on.
std::string checksum_of(const StudyData& data) {
  std::string all;
  for (const std::vector<StudyDomain>* domains : {&data.train, &data.evaluation})
    for (const StudyDomain& domain : *domains)
      all += fmt::format("{} {} {}\n", domain.held_out, domain.name, TokenDataset(domain.dataset).checksum());
  return to_hex(xxh3(all));
}

void set_diverged(RunRecord& record, const std::string& label, const std::string& why) {
  record.status = RunStatus::kDiverged, record.error = why, record.validation_nll = INFINITY;
  record.domains.clear();
  log::warning("{}: diverged, and stays in the results as a point that did: {}", label, why);
}

}  // namespace

void stop_if_interrupted(const StudyEvents& events, const char* where) {
  if (events.interrupted && events.interrupted())
    fail(ErrorCode::kInterrupted, "interrupted {}: run the same command again to go on", where);
}

GridRuns::GridRuns(const StudyConfig& config, const fs::path& out, const Grid& grid, const StudyData& data,
                   const GridTasks& tasks, const std::function<double()>& measure_peak, const StudyEvents& events,
                   Communicator* ranks, Team<GridOrder>& team)
    : config_(config),
      folder_(out / "runs"),
      grid_(grid),
      data_(data),
      data_checksum_(checksum_of(data)),
      tasks_(tasks),
      measure_peak_(measure_peak),
      events_(events),
      ranks_(ranks),
      team_(team) {}

fs::path GridRuns::folder(const GridRun& run) const { return folder_ / name(grid_, run); }

RunConfig GridRuns::config_of(const GridRun& run) const { return troupe::config_of(grid_, run, config_, data_); }

void GridRuns::look_for_stale(bool redo) const {
  std::vector<std::string> lines;
  for (size_t p = 0; p < grid_.points.size(); ++p) {
    const fs::path point = folder_ / grid_.name(grid_.points[p]);
    std::error_code none;
    for (const auto& rate : fs::directory_iterator(point, none))
      for (const auto& seed : fs::directory_iterator(rate.path(), none)) {
        const std::optional<GridRun> run = run_of(p, rate.path(), seed.path());
        if (!run || !seed.is_directory()) continue;
        const auto reasons = stale_because(seed.path(), config_of(*run), data_checksum_, config_.valid_tokens);
        if (reasons.empty()) continue;
        if (redo) {
          const auto lock = claim(seed.path(), events_.interrupted);
          fs::remove_all(seed.path());
          log::info("{}: removed, to be trained again: {}", seed.path().string(), reasons.front());
        } else {
          std::string line = seed.path().string() + ":";
          for (const std::string& reason : reasons) line += " " + reason + ";";
          line.pop_back();
          log::info("stale: {}", line);
          lines.push_back(line);
        }
      }
  }
  if (!lines.empty())
    fail(ErrorCode::kUsage,
         "{}: expected runs with the settings of this study, got {} with others, the first {} (--redo-stale trains "
         "them again, or choose another --out)",
         folder_.string(), lines.size(), lines.front());
}

// What a folder's name says, if it is one that this study makes.
std::optional<GridRun> GridRuns::run_of(size_t point, const fs::path& rate, const fs::path& seed) const {
  GridRun run{.point = point};
  try {
    run.lr = std::stod(rate.filename().string().substr(3));
    run.seed = std::stoll(seed.filename().string().substr(5));
  } catch (const std::exception&) {
    return std::nullopt;
  }
  return folder(run) == seed ? std::optional(run) : std::nullopt;
}

bool GridRuns::is_done(const GridRun& run, bool final) const {
  const auto record = read_record(folder(run));
  if (!record) return false;
  if (record->status == RunStatus::kDiverged || !final) return true;
  // Tasks may have been added to a study; without its model a run cannot be scored on them any more.
  return record->measured && (tasks_.all_in(record->tasks) || !has_weights(RunFiles{folder(run)}.model()));
}

// Left by a process that died between measuring and removing, or by trials that were others'.
void GridRuns::drop_model(const GridRun& run) const {
  const fs::path model = RunFiles{folder(run)}.model();
  if (config_.grid.keep_models || !fs::exists(model)) return;
  if (const auto lock = try_claim(folder(run))) fs::remove_all(model);
}

void GridRuns::make(const GridRun& run, bool final) {
  std::optional<RunRecord> trained = read_record(folder(run));
  if (trained && final && trained->status == RunStatus::kOk && !trained->measured &&
      !has_weights(RunFiles{folder(run)}.model())) {
    log::info("{}: its model is gone before it was measured: training again", name(grid_, run));
    fs::remove_all(folder(run));
    trained.reset();
  }
  RunRecord record = trained ? *trained : train(run);
  if (record.status == RunStatus::kOk && final) measure(run, record);
  if (record.status == RunStatus::kOk && final && !tasks_.all_in(record.tasks)) score_tasks(run, record);
  if (final && !config_.grid.keep_models) fs::remove_all(RunFiles{folder(run)}.model());
}

// What is left of a training when its checkpoints are gone, or none can be read.
void GridRuns::begin_anew_if_broken(const GridRun& run) const {
  try {
    find_start(RunFiles{folder(run)}, true);
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kData) throw;
    log::warning("{}: cannot go on, and begins anew: {}", name(grid_, run), error.what());
    fs::remove_all(folder(run));
  }
}

void GridRuns::obey(const GridOrder& order) {
  switch (order.what) {
    case GridOrder::kProbe:
      return;
    case GridOrder::kTrain:
      return train_together(order.run);
    case GridOrder::kMeasure:
      return measure_together(order.run);
    case GridOrder::kScoreTasks:
      return score_tasks_together(order.run);
  }
}

void GridRuns::train_together(const GridRun& run) {
  const std::string label = name(grid_, run);
  EnergyMeter energy;
  PretrainOptions options;
  options.run = folder(run);
  options.resume = true;
  options.ranks = ranks_;
  if (!ranks_) options.measure_peak = measure_peak_;
  options.interrupted = events_.interrupted;
  options.step = [&](const StepStats& stats, int64_t steps, double seconds) {
    energy.update();
    events_.step(label, stats, steps, seconds);
  };
  const log::Prefix prefix(label);
  const log::WarningsOnly brief;  // there may be hundreds of runs
  trained_ = pretrain(config_of(run), label, options);
  energy_j_ = energy.joules();
}

RunRecord GridRuns::train(const GridRun& run) {
  const std::string label = name(grid_, run);
  const fs::path into = folder(run);
  const RunConfig config = config_of(run);
  RunRecord record{.data = data_checksum_, .device = std::string(name_of_enum(active_device()))};
  record.precision = to_string(precision_of(config.train.precision));
  record.provenance = to_json(provenance(record.precision));
  log::info("{}: training", label);
  begin_anew_if_broken(run);
  const bool from_the_start = !fs::exists(RunFiles{into}.checkpoints());
  std::string diverged;  // why
  try {
    team_.call({.what = GridOrder::kTrain, .run = run});
    if (trained_.interrupted)
      fail(ErrorCode::kInterrupted, "interrupted in {} after step {}: run the same command again to go on", label,
           trained_.step);
    const ModelResult trained = read_run(into, label);
    record.elapsed_s = trained.seconds;
    if (from_the_start) record.energy_j = energy_j_;
    double sum = 0.0;
    for (const DomainResult& domain : trained.domains) sum += domain.nll;
    record.validation_nll = sum / static_cast<double>(trained.domains.size());
    const double chance = std::log(static_cast<double>(config.model.vocab_size));
    if (!(record.validation_nll <= chance + 1.0))
      diverged = fmt::format("{:.2f} nats per token at the end, {:.2f} is chance", record.validation_nll, chance);
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kNonFinite) throw;
    diverged = error.what();
  }
  if (!diverged.empty()) set_diverged(record, label, diverged);
  record.config = read_file(RunFiles{into}.config());
  write_record(into, record);
  fs::remove_all(RunFiles{into}.checkpoints());
  return record;
}

void GridRuns::measure_together(const GridRun& run) {
  const std::string label = name(grid_, run);
  const auto model = load_model(RunFiles{folder(run)}.model(), default_precision());
  const Tokenizer tokenizer = Tokenizer::load(data_.tokenizer.string());
  domains_.clear();
  for (const StudyDomain& domain : data_.evaluation)
    domains_.push_back(
        score_text(*model, domain,
                   cut_into_pieces(fixed_documents(read_domain(domain, data_.tokenizer, model->config().eos_id, 0),
                                                   config_.valid_tokens, tokenizer)),
                   [&](const std::string& what, double share) {
                     stop_if_interrupted(events_, "in an evaluation");
                     events_.evaluation(label + ", " + what, share);
                   },
                   ranks_));
}

void GridRuns::measure(const GridRun& run, RunRecord& record) {
  if (record.measured) return;
  const std::string label = name(grid_, run);
  record.domains.clear();
  record.valid_tokens = config_.valid_tokens;
  try {
    team_.call({.what = GridOrder::kMeasure, .run = run});
    record.domains = std::move(domains_);
    record.measured = true;
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kNonFinite) throw;
    set_diverged(record, label, error.what());
  }
  write_record(folder(run), record);
  if (record.status == RunStatus::kDiverged) return;
  double sum = 0.0;
  for (const DomainResult& domain : record.domains) sum += domain.nll;
  log::info("{}: {} nats per token on average over {} domains", label,
            number_text(sum / static_cast<double>(record.domains.size()), 4), record.domains.size());
}

void GridRuns::score_tasks_together(const GridRun& run) {
  const std::string label = name(grid_, run);
  const auto model = load_model(RunFiles{folder(run)}.model(), default_precision());
  task_scores_ = tasks_.score(
      *model, Tokenizer::load(data_.tokenizer.string()),
      [&](const std::string& task, double share) {
        stop_if_interrupted(events_, "in an evaluation");
        events_.evaluation(label + ", " + task, share);
      },
      ranks_);
}

void GridRuns::score_tasks(const GridRun& run, RunRecord& record) {
  const std::string label = name(grid_, run);
  try {
    team_.call({.what = GridOrder::kScoreTasks, .run = run});
    record.tasks = std::move(task_scores_);
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kNonFinite) throw;
    set_diverged(record, label, error.what());
  }
  write_record(folder(run), record);
  if (record.status == RunStatus::kDiverged) return;
  std::string line;
  for (const TaskScores& own : record.tasks)
    line += fmt::format("{}{} {:.1f} %", line.empty() ? "" : ", ", own.facts.task, 100.0 * own.accuracy());
  log::info("{}: right answers: {}", label, line);
}

}  // namespace troupe
