#include "cli/task_output.h"

#include <cerrno>
#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/error.h"
#include "base/log.h"
#include "base/quantity.h"
#include "cli/output.h"
#include "eval/tasks/average.h"
#include "eval/tasks/items.h"
#include "io/json_fields.h"
#include "io/json_text.h"

namespace troupe::cli {
namespace {

using Json = nlohmann::ordered_json;

std::string show_percent(double share) { return number_text(100.0 * share, 2); }

std::string items_text(const TaskFigure& figure) {
  return grouped(figure.n) + (figure.left_out ? " of " + grouped(figure.n + figure.left_out) : "");
}

double drop_rate(const RequestStats& stats) {
  return stats.choices ? static_cast<double>(stats.dropped) / static_cast<double>(stats.choices) : 0.0;
}

}  // namespace

std::string files_wanted(const TaskFile& task, const std::string& split) {
  std::string names;
  for (const TaskSource& source : task.sources)
    for (const TaskSource::File& file : source.files)
      if (file.split == split)
        names += (names.empty() ? "" : " or ") + file.name + (file.labels.empty() ? "" : " with " + file.labels);
  return names;
}

void print_task_list(const std::vector<TaskFile>& tasks, const std::string& data_dir, bool json) {
  for (const TaskFile& task : tasks) {
    const auto state = [&](const std::string& split) -> std::string {
      if (split.empty()) return "none";
      if (data_dir.empty()) return "unknown";
      return find_split(task, data_dir, split).source ? "there" : "missing";
    };
    std::string conventions = task.paper ? "paper" : "";
    if (task.harness) conventions += conventions.empty() ? "harness" : ", harness";
    if (json) {
      print_json({{"schema", "troupe.eval.tasks.list/1"},
                  {"task", task.name},
                  {"about", task.about},
                  {"conventions", conventions},
                  {"folder", task.folder},
                  {"items", files_wanted(task, task.evaluate)},
                  {"items_state", state(task.evaluate)},
                  {"examples", task.shots.empty() ? Json() : Json(files_wanted(task, task.shots))},
                  {"examples_state", state(task.shots)},
                  {"published", task.published},
                  {"citation", task.citation},
                  {"file", task.where}});
      continue;
    }
    const auto mark = [&](const std::string& split) {
      return data_dir.empty() ? std::string() : "  [" + state(split) + "]";
    };
    print("{}: {} ({})\n", task.name, task.about, conventions);
    print("  items     {}/{}{}\n", task.folder, files_wanted(task, task.evaluate), mark(task.evaluate));
    if (!task.shots.empty())
      print("  examples  {}/{}{}\n", task.folder, files_wanted(task, task.shots), mark(task.shots));
    print("  published {}\n", task.published);
  }
  std::fflush(stdout);
  if (data_dir.empty()) log::info("With --data-dir DIR the list says which files are there.");
}

TaskResults::TaskResults(const EvalFacts& facts, const TaskOptions& options, bool groups, bool json)
    : facts_(facts),
      options_(options),
      groups_(groups),
      json_(json),
      rows_({{"task", "convention", "metric", "value", "± items", "± draws", "chance", "n", "shots", "draws"}}) {}

void TaskResults::add(const TaskReport& report) {
  for (const TaskFigure& figure : report.figures) {
    if (json_)
      add_line(report, figure);
    else if (figure.group.empty() || groups_)
      add_row(report, figure);
  }
  if (report.convention == Convention::kPaper && is_study_task(report.task)) study_.push_back(report.figures.front());
  limited_ = limited_ || report.figures.front().left_out > 0;
}

void TaskResults::add_line(const TaskReport& report, const TaskFigure& figure) const {
  print_json(json_of(TaskLine{.task = report.task,
                              .convention = std::string(name_of_enum(report.convention)),
                              .metric = figure.metric,
                              .value = figure.value,
                              .item_error = figure.item_error,
                              .n = figure.n,
                              .chance = figure.chance,
                              .shots = report.shots,
                              .draws = report.draws,
                              .group = figure.group.empty() ? std::nullopt : std::optional(figure.group),
                              .interval = {figure.value - figure.interval_half, figure.value + figure.interval_half},
                              .draw_error = figure.draw_error,
                              .mean_shots = report.mean_shots,
                              .seed = options_.seed,
                              .score = report.score,
                              .split = report.split,
                              .skipped = report.skipped,
                              .left_out = figure.left_out,
                              .limit = figure.left_out ? std::optional(options_.limit) : std::nullopt,
                              .truncated = report.requests.truncated,
                              .drop_rate = drop_rate(report.requests),
                              .data_checksum = report.data_checksum,
                              .facts = facts_}));
}

void TaskResults::add_row(const TaskReport& report, const TaskFigure& figure) {
  const double scale = figure.metric == "perplexity" ? 1.0 : 100.0;
  const auto show = [&](double value) { return number_text(scale * value, 2); };
  rows_.push_back({figure.group.empty() ? report.task : "  " + figure.group,
                   std::string(name_of_enum(report.convention)), figure.metric, show(figure.value),
                   show(kNormal95 * figure.item_error), report.draws > 1 ? show(figure.interval_half) : "",
                   show(figure.chance), items_text(figure), fmt::format("{:.3g}", report.mean_shots),
                   fmt::format("{}", report.draws)});
}

void TaskResults::add_average(const Estimate& average) {
  if (json_)
    print_json(json_of(TaskAverageLine{.task = "average of the study's six tasks",
                                       .convention = "paper",
                                       .metric = "acc",
                                       .value = average.value,
                                       .item_error = average.standard_error,
                                       .n = static_cast<int64_t>(study_.size()),
                                       .shots = options_.shots,
                                       .draws = options_.shots > 0 ? options_.draws : 1,
                                       .facts = facts_}));
  else
    rows_.push_back({"average of six", "paper", "acc", show_percent(average.value),
                     show_percent(kNormal95 * average.standard_error), "", "", "6 tasks", "", ""});
}

void TaskResults::finish() {
  const std::optional<Estimate> average = study_average(study_);
  if (average) add_average(*average);
  if (!json_) {
    print_table(rows_);
    print("±: half the 95 % interval, over items, and over draws of examples (t) where there are several.\n");
  }
  if (limited_)
    log::warning("--limit {}: n of N items; figures of a part are no results of the task{}", options_.limit,
                 study_.size() == kStudyTasks && !average ? ", and the six tasks get no average" : "");
}

TaskDetailsFile::TaskDetailsFile(const std::string& path) : path_(path) {
  file_ = std::fopen(path_.c_str(), "wb");
  if (!file_) fail(ErrorCode::kEnvironment, "{}: cannot open for writing", path_);
}

TaskDetailsFile::~TaskDetailsFile() {
  if (file_) std::fclose(file_);  // after an error, which is on its way
}

void TaskDetailsFile::add(const std::string& task, Convention convention, const std::vector<ItemDetail>& details) {
  for (const ItemDetail& detail : details) {
    const Json line = {{"schema", "troupe.eval.tasks.detail/1"},
                       {"task", task},
                       {"convention", std::string(name_of_enum(convention))},
                       {"where", detail.where},
                       {"examples", detail.examples},
                       {"context", detail.context},
                       {"continuation", detail.continuation},
                       {"logprob", detail.logprob},
                       {"calibration", detail.calibration},
                       {"greedy", detail.is_greedy},
                       {"gold", detail.is_gold},
                       {"chosen", detail.is_chosen}};
    const std::string text = json_text(line) + "\n";
    if (std::fputs(text.c_str(), file_) < 0) fail(ErrorCode::kEnvironment, "{}: cannot write", path_);
  }
}

void TaskDetailsFile::close() {
  std::FILE* const file = std::exchange(file_, nullptr);
  if (file && std::fclose(file) != 0)
    fail(ErrorCode::kEnvironment, "{}: expected to write to it, got: {}", path_, std::strerror(errno));
}

}  // namespace troupe::cli
