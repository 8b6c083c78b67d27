#include "study/grid/grid_tables.h"

#include <zstd.h>

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "eval/statistics.h"
#include "io/atomic_file.h"
#include "ops/route/policy.h"
#include "study/csv.h"

namespace troupe {
namespace {

namespace fs = std::filesystem;

// What the family's file names; of one that names none the decoder tells.
std::string recipe_of(const RunConfig& config) {
  if (config.recipe != Recipe::kNone) return std::string(name_of_enum(config.recipe));
  const ModelConfig& model = config.model;
  const bool paper = model.norm == Norm::kLayer && !model.ffn_gated && model.positions != Positions::kRotary;
  return paper ? "paper" : "modern";
}

PointRow row_of(const GridResults& results, const FinishedRun& finished) {
  const GridPoint& point = results.grid.points[finished.run.point];
  const GridModel& model = results.grid.models[point.model];
  const ModelConfig& config = model.config.model;
  const int64_t tokens = results.grid.tokens(point);
  const bool moe = config.num_moe_layers() > 0;
  return {.run = name(results.grid, finished.run),
          .family = model.family,
          .size = model.size,
          .recipe = recipe_of(model.config),
          .router = moe ? std::string(router_policy(config.moe).name) : "",
          .experts = moe ? config.moe.num_experts : 0,
          .top_k = moe ? config.moe.top_k : 0,
          .every = moe ? config.moe.every : 0,
          .expert_d_ff = moe ? config.expert_d_ff() : 0,
          .params = model.params(),
          .active_params = model.active_params(),
          .vocab = config.vocab_size,
          .tokens = tokens,
          .epochs = results.epochs[finished.run.point],
          .train_flops = results.grid.train_flops(point),
          .seconds = static_cast<double>(tokens) / results.speeds.of(model),
          .memory_bytes = model.memory_bytes(),
          .lr = finished.run.lr,
          .seed = finished.run.seed,
          .device = finished.record.device,
          .precision = finished.record.precision,
          .status = std::string(name_of_enum(finished.record.status)),
          .domain = {}};
}

const DomainResult* find_text(const RunRecord& record, const StudyDomain& text) {
  for (const DomainResult& domain : record.domains)
    if (domain.name == text.name && domain.held_out == text.held_out) return &domain;
  return nullptr;
}

// The plain mean over domains; its error as of independent ones.
void add_mean(std::vector<PointRow>& rows, size_t first, const char* name, bool held_out) {
  PointRow mean = rows[first];
  mean.domain = name, mean.held_out = held_out, mean.documents = 0;
  double nll = 0, bits = 0, squares = 0;
  int64_t count = 0;
  for (size_t r = first; r < rows.size(); ++r) {
    const PointRow& row = rows[r];
    if (row.held_out != held_out || row.domain == kMeanIn) continue;
    ++count, mean.documents += row.documents;
    nll += row.nll, bits += row.bits_per_byte, squares += row.standard_error * row.standard_error;
  }
  if (count == 0) return;  // no held-out domain
  const auto n = static_cast<double>(count);
  mean.nll = nll / n, mean.bits_per_byte = bits / n, mean.standard_error = std::sqrt(squares) / n;
  rows.push_back(mean);
}

std::string zstd_of(const std::string& text) {
  constexpr int kLevel = 9;
  std::string packed(ZSTD_compressBound(text.size()), '\0');
  const size_t size = ZSTD_compress(packed.data(), packed.size(), text.data(), text.size(), kLevel);
  if (ZSTD_isError(size)) fail(ErrorCode::kEnvironment, "zstd: expected to compress, got: {}", ZSTD_getErrorName(size));
  packed.resize(size);
  return packed;
}

std::string documents_text(const GridResults& results) {
  std::vector<DocumentRow> rows;
  for (const FinishedRun& finished : results.finals)
    for (size_t d = 0; d < results.texts.size(); ++d)
      if (const DomainResult* domain = find_text(finished.record, results.texts[d]))
        for (size_t i = 0; i < domain->documents.size(); ++i) {
          const auto& [nll, tokens] = domain->documents[i];
          rows.push_back({.run = name(results.grid, finished.run),
                          .domain = results.domains[d],
                          .document = static_cast<int64_t>(i),
                          .tokens = tokens,
                          .nll = nll});
        }
  return csv_text(rows);
}

std::string items_text(const GridResults& results) {
  std::vector<TaskItemsRow> rows;
  for (const FinishedRun& finished : results.finals)
    for (const TaskFacts& task : results.tasks)
      if (const TaskScores* scores = find_scores(finished.record.tasks, task))
        rows.push_back({name(results.grid, finished.run), task.task, scores->right});
  return csv_text(rows);
}

}  // namespace

std::vector<std::string> table_names(const std::vector<StudyDomain>& domains) {
  std::vector<std::string> names;
  for (const StudyDomain& domain : domains) {
    const bool twice = domain.held_out && std::any_of(domains.begin(), domains.end(), [&](const StudyDomain& other) {
                         return other.name == domain.name && !other.held_out;
                       });
    names.push_back(twice ? domain.name + " (held out)" : domain.name);
    if (names.back() == kMeanIn || names.back() == kMeanOut)
      fail(ErrorCode::kUsage, "study.corpus: expected domains with other names than {} and {} (the means), got {}",
           kMeanIn, kMeanOut, domain.name);
  }
  return names;
}

std::vector<PointRow> point_rows(const GridResults& results) {
  std::vector<PointRow> rows;
  for (const FinishedRun& finished : results.finals) {
    const size_t first = rows.size();
    const PointRow row = row_of(results, finished);
    for (size_t d = 0; d < results.texts.size(); ++d) {
      PointRow& own = rows.emplace_back(row);
      own.domain = results.domains[d], own.held_out = results.texts[d].held_out;
      const DomainResult* domain = find_text(finished.record, results.texts[d]);
      own.documents = domain ? static_cast<int64_t>(domain->documents.size()) : 0;
      own.nll = domain ? domain->nll : kNan;
      own.bits_per_byte = domain ? domain->bits_per_byte : kNan;
      own.standard_error = domain ? domain->standard_error : kNan;
    }
    add_mean(rows, first, kMeanIn, false);
    add_mean(rows, first, kMeanOut, true);
  }
  return rows;
}

std::vector<TrialRow> trial_rows(const GridResults& results) {
  std::vector<TrialRow> rows;
  for (const GridResults::Trial& trial : results.trials) {
    const GridPoint& point = results.grid.points[trial.run.point];
    const GridModel& model = results.grid.models[point.model];
    rows.push_back(
        {.run = name(results.grid, trial.run),
         .family = model.family,
         .size = model.size,
         .tokens = results.grid.tokens(point),
         .seed = trial.run.seed,
         .lr = trial.run.lr,
         .status = std::string(name_of_enum(std::isfinite(trial.nll) ? RunStatus::kOk : RunStatus::kDiverged)),
         .nll = trial.nll,
         .chosen = trial.chosen,
         .inside = trial.inside});
  }
  return rows;
}

std::vector<TaskRow> task_rows(const GridResults& results) {
  std::vector<TaskRow> rows;
  for (const FinishedRun& finished : results.finals) {
    const GridPoint& point = results.grid.points[finished.run.point];
    const GridModel& model = results.grid.models[point.model];
    for (const TaskFacts& task : results.tasks) {
      const TaskScores* scores = find_scores(finished.record.tasks, task);
      if (!scores || finished.record.status != RunStatus::kOk) continue;
      const double accuracy = scores->accuracy();
      const auto [low, high] = interval95_of_share(accuracy, task.items);
      rows.push_back({.run = name(results.grid, finished.run),
                      .family = model.family,
                      .size = model.size,
                      .tokens = results.grid.tokens(point),
                      .seed = finished.run.seed,
                      .task = task.task,
                      .convention = task.convention,
                      .metric = task.metric,
                      .items = task.items,
                      .left_out = task.left_out,
                      .accuracy = accuracy,
                      .standard_error = std::sqrt(accuracy * (1 - accuracy) / static_cast<double>(task.items - 1)),
                      .low = low,
                      .high = high,
                      .chance = task.chance});
    }
  }
  return rows;
}

std::vector<RouterRow> router_rows(const GridResults& results) {
  std::vector<RouterRow> rows;
  for (const FinishedRun& finished : results.finals)
    for (const RouterLine& line : finished.routers) rows.push_back({name(results.grid, finished.run), line});
  return rows;
}

std::vector<RunRow> run_rows(const GridResults& results) {
  std::vector<RunRow> rows;
  for (const FinishedRun& finished : results.finals)
    rows.push_back({.run = name(results.grid, finished.run),
                    .status = std::string(name_of_enum(finished.record.status)),
                    .elapsed_s = finished.record.elapsed_s,
                    .energy_j = finished.record.energy_j});
  return rows;
}

int64_t without_tasks(const GridResults& results) {
  return std::count_if(results.finals.begin(), results.finals.end(), [&](const FinishedRun& run) {
    return run.record.status == RunStatus::kOk &&
           std::any_of(results.tasks.begin(), results.tasks.end(),
                       [&](const TaskFacts& task) { return !find_scores(run.record.tasks, task); });
  });
}

void write_tables(const fs::path& out, const GridResults& results) {
  write_file_atomically(out / "points.csv", csv_text(point_rows(results)));
  write_file_atomically(out / "trials.csv", csv_text(trial_rows(results)));
  write_file_atomically(out / "documents.csv.zst", zstd_of(documents_text(results)));
  write_file_atomically(out / "runs.csv", csv_text(run_rows(results)));
  write_file_atomically(out / "routers.csv", csv_text(router_rows(results)));
  if (results.tasks.empty()) return;
  write_file_atomically(out / "tasks.csv", csv_text(task_rows(results)));
  write_file_atomically(out / "task_items.csv.zst", zstd_of(items_text(results)));
}

}  // namespace troupe
