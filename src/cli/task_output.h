// How `troupe eval tasks` shows what it knows: the list of tasks, their figures, and every candidate of a task.
#pragma once

#include <cstdio>
#include <optional>
#include <string>
#include <vector>

#include "cli/eval_model.h"
#include "eval/tasks/run_task.h"

namespace troupe::cli {

// "a.jsonl or b.jsonl": the files that hold a split.
std::string files_wanted(const TaskFile& task, const std::string& split);

// With a folder of data the list says which files are there.
void print_task_list(const std::vector<TaskFile>& tasks, const std::string& data_dir, bool json);

// Figures: JSON lines as they come, or a table at the end.
class TaskResults {
 public:
  TaskResults(const EvalFacts& facts, const TaskOptions& options, bool groups, bool json);

  void add(const TaskReport& report);
  void finish();  // with the average of the study's six tasks, if all of them were evaluated, and whole

 private:
  void add_line(const TaskReport& report, const TaskFigure& figure) const;
  void add_row(const TaskReport& report, const TaskFigure& figure);
  void add_average(const Estimate& average);

  const EvalFacts& facts_;
  const TaskOptions& options_;
  const bool groups_, json_;
  std::vector<std::vector<std::string>> rows_;
  std::vector<TaskFigure> study_;
  bool limited_ = false;  // some task by --limit
};

// The file of --details: a line of JSON a candidate.
class TaskDetailsFile {
 public:
  explicit TaskDetailsFile(const std::string& path);
  TaskDetailsFile(const TaskDetailsFile&) = delete;
  ~TaskDetailsFile();

  void add(const std::string& task, Convention convention, const std::vector<ItemDetail>& details);
  void close();  // throws kEnvironment unless all of it is written

 private:
  const std::string path_;
  std::FILE* file_ = nullptr;
};

}  // namespace troupe::cli
