#include "train/run_tasks.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/nearest.h"
#include "io/atomic_file.h"

namespace troupe {

TaskFile find_task(const std::string& name, const std::vector<TaskFile>& built_in, const std::string& where) {
  if (name.ends_with(".toml")) return parse_task_file(read_file(name), name);
  std::vector<std::string> names;
  for (const TaskFile& task : built_in) {
    if (task.name == name) return task;
    names.push_back(task.name);
  }
  fail(ErrorCode::kUsage,
       "{}: expected a built-in task or a file FILE.toml, got {} (did you mean {}?)", where, name,
       nearest(name, names));
}

RunTasks::RunTasks(const RunConfig& config, const std::filesystem::path& tokenizer_json, const std::string& where) {
  const TasksConfig& chosen = config.train.tasks;
  if (chosen.names.empty()) return;
  tokenizer_ = Tokenizer::load(tokenizer_json.string());
  const std::vector<TaskFile> built_in = load_tasks();
  for (const std::string& name : chosen.names) {
    const TaskFile task = find_task(name, built_in, where + ": train.tasks.names");
    if (std::any_of(jobs_.begin(), jobs_.end(), [&](const Job& job) { return job.task.name == task.name; }))
      fail(ErrorCode::kUsage, "{}: train.tasks.names: expected each task once, got {} twice", where, task.name);
    for (const Convention convention : {Convention::kPaper, Convention::kHarness}) {
      if (!task.prompts(convention)) continue;
      TaskOptions options{.data_dir = chosen.data_dir, .convention = convention, .shots = chosen.shots, .draws = 1};
      options.limit = chosen.limit;
      TaskData data = load_task_data(task, options);
      jobs_.push_back({task, std::move(options), std::move(data)});
    }
  }
}

std::vector<nlohmann::ordered_json> RunTasks::run(LanguageModel& model, int64_t step,
                                                  const std::function<void()>& between) const {
  std::vector<nlohmann::ordered_json> lines;
  for (const Job& job : jobs_) {
    const TaskReport report =
        run_task(model, *tokenizer_, job.task, job.options, job.data, [&](double) { between(); });
    for (const TaskFigure& figure : report.figures)
      if (figure.group.empty())
        lines.push_back({{"schema", "troupe.task/1"},
                         {"step", step},
                         {"task", report.task},
                         {"convention", name_of_enum(report.convention)},
                         {"metric", figure.metric},
                         {"value", figure.value},
                         {"stderr", figure.item_error},
                         {"n", figure.n},
                         {"chance", figure.chance},
                         {"shots", report.shots},
                         {"left_out", figure.left_out}});
  }
  return lines;
}

}  // namespace troupe
