// troupe eval tasks: accuracy on published tasks, under the paper's convention and the common harness's.
#include <CLI/CLI.hpp>
#include <memory>
#include <optional>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "base/quantity.h"
#include "cli/choice.h"
#include "cli/command.h"
#include "cli/device.h"
#include "cli/eval.h"
#include "cli/eval_model.h"
#include "cli/progress.h"
#include "cli/ranks.h"
#include "cli/task_output.h"
#include "cli/validators.h"
#include "eval/tasks/items.h"
#include "eval/tasks/run_task.h"

namespace troupe::cli {
namespace {

struct TasksFlags {
  EvalFlags model;
  std::vector<std::string> tasks, task_dirs;
  std::string data_dir, convention = "both", details;
  TaskOptions options;
  bool list = false, groups = false, json = false;
  double watchdog_s = 60.0;
};

std::vector<Convention> conventions(const std::string& text) {
  if (text == "paper") return {Convention::kPaper};
  if (text == "harness") return {Convention::kHarness};
  return {Convention::kPaper, Convention::kHarness};
}

// Of the tasks asked for those whose files are there: with "all" one without files is named and passed over, one asked
// for by name must be there.
std::vector<TaskFile> chosen_tasks(const TasksFlags& flags, bool all, std::vector<TaskFile> tasks) {
  tasks = select_tasks(std::move(tasks), flags.tasks);
  for (const TaskFile& task : tasks)
    if (!task.replaces.empty()) log::warning("{}: {} stands for the {}", task.name, task.where, task.replaces);
  const bool shots = flags.options.shots > 0;
  const auto is_there = [&](const TaskFile& task) {
    return find_split(task, flags.data_dir, task.evaluate).source &&
           (!shots || task.shots.empty() || find_split(task, flags.data_dir, task.shots).source);
  };
  std::erase_if(tasks, [&](const TaskFile& task) {
    if (!all || is_there(task)) return false;
    log::warning("{}: not evaluated: no {} in {}", task.name,
                 files_wanted(task, task.evaluate) + (shots ? " with examples" : ""),
                 (std::filesystem::path(flags.data_dir) / task.folder).string());
    return true;
  });
  if (tasks.empty())
    fail(ErrorCode::kData, "{}: expected the data of at least one task, got none (--list shows the files)",
         flags.data_dir);
  return tasks;
}

// A task under one of its conventions.
struct Job {
  const TaskFile* task;
  TaskOptions options;
  TaskData data;
};

// What is wrong with the data of one task does not stop the others.
class BrokenTasks {
 public:
  explicit BrokenTasks(size_t tasks) : alone_(tasks == 1) {}

  // In a handler of `error`: throws it again if it is of another kind, or if there are no other tasks.
  void add(const TaskFile& task, const Error& error) {
    if (error.code() != ErrorCode::kData || alone_) throw;
    log::warning("not evaluated: {}", error.what());
    names_ += (names_.empty() ? "" : ", ") + task.name;
  }
  const std::string& names() const { return names_; }

 private:
  const bool alone_;
  std::string names_;
};

// Reads and checks every file of the tasks.
std::vector<Job> load_jobs(const TasksFlags& flags, bool all, const std::vector<TaskFile>& tasks, BrokenTasks& broken) {
  std::vector<Job> jobs;
  for (const TaskFile& task : tasks) {
    try {
      for (const Convention convention : conventions(flags.convention)) {
        if (!task.prompts(convention)) {
          if (flags.convention != "both")
            log::warning("{}: not evaluated: no {} convention is defined for it", task.name, flags.convention);
          continue;
        }
        Job& job = jobs.emplace_back(Job{&task, flags.options, {}});
        job.options.convention = convention;
        if (all && task.shots.empty()) job.options.shots = 0;
        job.data = load_task_data(task, job.options);
      }
    } catch (const Error& error) {
      broken.add(task, error);
      std::erase_if(jobs, [&](const Job& job) { return job.task == &task; });
    }
  }
  if (jobs.empty() && !broken.names().empty())
    fail(ErrorCode::kData, "--tasks: nothing to evaluate because of the data of {} (see above)", broken.names());
  return jobs;
}

// What was not as usual.
void log_report(const TaskReport& report) {
  if (report.skipped > 0)
    log::info("{}: {} left out by the task's rule", report.task, counted(report.skipped, "record"));
  if (const int64_t left_out = report.figures.front().left_out; left_out > 0)
    log::info("{}: {} left out by --limit", report.task, counted(left_out, "item"));
  if (report.requests.truncated > 0)
    log::warning("{} ({}): {} of {} sequences were longer than the context and lost tokens on their left", report.task,
                 name_of_enum(report.convention), report.requests.truncated, report.requests.requests);
}

// Each job's figures; returns what all took.
RequestStats run_jobs(const TasksFlags& flags, std::vector<Job>& jobs, EvalModel& loaded, BrokenTasks& broken) {
  Communicator* const ranks = loaded.requests.ranks;
  std::optional<TaskDetailsFile> details_file;
  const auto open_details = [&] {
    if (!flags.details.empty() && (!ranks || ranks->rank() == 0)) details_file.emplace(flags.details);
  };
  run_together(ranks, open_details, "opening --details");
  TaskResults results(loaded.facts, flags.options, flags.groups, flags.json);
  RequestStats total;
  for (Job& job : jobs) {
    const TaskFile& task = *job.task;
    const Convention convention = job.options.convention;
    job.options.requests = loaded.requests;
    Progress progress(fmt::format("{} ({})", task.name, name_of_enum(convention)), 1.0);
    std::vector<ItemDetail> details;
    TaskReport report;
    try {
      report = run_task(
          *loaded.model, *loaded.tokenizer, task, job.options, job.data,
          [&](double share) { progress.update(share, ""); }, details_file ? &details : nullptr);
    } catch (const Error& error) {  // of a text that is no token of its own after its context
      broken.add(task, error);
      continue;
    }
    progress.clear();
    if (details_file) details_file->add(task.name, convention, details);
    log_report(report);
    total.tokens += report.requests.tokens, total.run_tokens += report.requests.run_tokens;
    total.requests += report.requests.requests, total.from_journal += report.requests.from_journal;
    results.add(report);
    job.data = {};
  }
  if (details_file) details_file->close();
  results.finish();
  return total;
}

void list(const TasksFlags& flags) {
  const std::vector<TaskFile> known = load_tasks({flags.task_dirs.begin(), flags.task_dirs.end()});
  print_task_list(flags.tasks.empty() ? known : select_tasks(known, flags.tasks), flags.data_dir, flags.json);
}

void run(TasksFlags& flags, Communicator* ranks) {
  std::vector<TaskFile> tasks;
  std::optional<BrokenTasks> broken;
  std::vector<Job> jobs;
  ModelConfig config;
  EvalModel loaded;
  // Every file is read and checked before the first request is scored.
  const auto read = [&] {
    std::vector<TaskFile> known = load_tasks({flags.task_dirs.begin(), flags.task_dirs.end()});
    if (flags.tasks.empty()) fail(ErrorCode::kUsage, "--tasks: expected names or all, got none (--list shows them)");
    if (flags.data_dir.empty()) fail(ErrorCode::kUsage, "--data-dir: expected the folder of the data, got none");
    flags.options.data_dir = flags.data_dir;
    const bool all = std::find(flags.tasks.begin(), flags.tasks.end(), "all") != flags.tasks.end();
    tasks = chosen_tasks(flags, all, std::move(known));
    broken.emplace(tasks.size());
    jobs = load_jobs(flags, all, tasks, *broken);
    config = read_eval_config(flags.model);
  };
  run_together(ranks, read, "reading data and model");
  choose_device_for(config, ranks);
  run_together(ranks, [&] { loaded = load_eval_model(flags.model, ranks); }, "reading data and model");
  describe_shared_evaluation(ranks);
  const auto start = Clock::now();
  const RequestStats total = run_jobs(flags, jobs, loaded, *broken);
  const double seconds = seconds_since(start);
  log::info("{} ({} from the journal) of {}, {} after sharing, in {} ({} tokens/s)",
            short_counted(static_cast<double>(total.requests), "request"), total.from_journal,
            short_counted(static_cast<double>(total.tokens), "token"), short_number(static_cast<double>(total.run_tokens)),
            short_duration(seconds), short_number(static_cast<double>(total.tokens) / std::max(seconds, 1e-9)));
  const auto judge = [&] {
    if (!broken->names().empty())
      fail(ErrorCode::kData, "--tasks: not evaluated because of their data: {} (see above)", broken->names());
  };
  run_together(ranks, judge, "the end");
}

}  // namespace

void add_eval_tasks(CLI::App& eval) {
  const auto flags = std::make_shared<TasksFlags>();
  CLI::App* const command = eval.add_subcommand("tasks", "Zero- and few-shot accuracy on published tasks");
  add_eval_flags(*command, flags->model);
  command->add_flag("--list", flags->list, "show the tasks, their files, and with --data-dir whether these are there");
  command->add_option("--tasks", flags->tasks, "names separated by commas, or all")->delimiter(',')->type_name("TASK");
  command->add_option("--data-dir", flags->data_dir, "folder with one folder per task")
      ->envname("TROUPE_TASK_DATA")
      ->type_name("DIR");
  command->add_option("--task-dir", flags->task_dirs,
                      "folder of further task files (*.toml); they replace built-in ones")
      ->type_name("DIR");
  limit_to(command->add_option("--convention", flags->convention, "rules of prompts and scores"),
           {"paper", "harness", "both"});
  command->add_option("--shots", flags->options.shots, "examples in front of each item; fewer where they do not fit")
      ->transform(count());
  command->add_option("--draws", flags->options.draws, "samples of examples")->transform(positive_count());
  command->add_option("--seed", flags->options.seed, "of the samples")->transform(seed());
  command
      ->add_option("--limit", flags->options.limit,
                   "only the first N items of each task, in tasks with groups of each group; not a result of the task")
      ->transform(positive_count());
  command->add_flag("--groups", flags->groups, "table: also the parts of tasks that have them (always in JSON)");
  command->add_option("--details", flags->details, "JSON lines to write: every candidate with its score (last draw)")
      ->type_name("FILE");
  command->add_flag("--json", flags->json, "one JSON object per figure");
  add_watchdog_flag(*command, flags->watchdog_s);
  command->callback([flags] {
    run_on_ranks(flags->watchdog_s, [&](Communicator* ranks) { flags->list ? list(*flags) : run(*flags, ranks); });
  });
}

}  // namespace troupe::cli
