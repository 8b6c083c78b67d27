// Tasks of the evaluation suite at the end points of a grid: which item each run answers right. A task is then a text
// of its own kind: its units are the items, its loss is the share of wrong answers, so that factors and intervals by
// accuracy are those by loss (factors.h).
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "data/tokenizer/tokenizer.h"
#include "eval/tasks/run_task.h"
#include "model/language_model.h"
#include "study/study_config.h"

namespace troupe {

// What a task is, for runs and tables.
struct TaskFacts {
  std::string task, convention, metric;
  std::string made_from;            // checksum of everything that its items and their scores are made of
  int64_t items = 0, left_out = 0;  // by study.tasks.limit
  double chance = 0.0;              // share of right answers of a blind choice; NaN where there are no candidates
  bool operator==(const TaskFacts& other) const { return task == other.task && made_from == other.made_from; }

  template <class V>
  void fields(V& v) {
    v("task", task), v("convention", convention), v("metric", metric), v("made_from", made_from);
    v.count("items", items), v.count("left_out", left_out), v("chance", chance);
  }
};

// Of one run, in its record.
struct TaskScores {
  TaskFacts facts;
  std::string right;  // a character an item: 1, or 0

  double accuracy() const;

  template <class V>
  void fields(V& v) {
    facts.fields(v);
    v("right", right);
  }
};

class GridTasks {
 public:
  // Reads the data of study.tasks; a task whose files are not there is said and left out. `where` is the study's file.
  // Throws kUsage for an unknown task, a broken task file, one that has no right answers to count, and without a
  // data_dir; kData for damaged data.
  GridTasks(const StudyConfig& study, const std::string& where);

  const std::vector<TaskFacts>& facts() const { return facts_; }
  // Every task is among them, as it is now.
  bool all_in(const std::vector<TaskScores>& scores) const;
  // `progress` says which task, and the share of it that is done; it may throw. Throws kNonFinite as run_task().
  // `ranks` share each (nullptr: one process).
  std::vector<TaskScores> score(LanguageModel& model, const Tokenizer& tokenizer,
                                const std::function<void(const std::string&, double)>& progress,
                                Communicator* ranks) const;

 private:
  struct Job {
    TaskFile task;
    TaskOptions options;
    TaskData data;
  };
  std::vector<Job> jobs_;
  std::vector<TaskFacts> facts_;  // in the order of jobs_
};

// A run's scores of a task, if it has them; nullptr without.
const TaskScores* find_scores(const std::vector<TaskScores>& scores, const TaskFacts& task);

}  // namespace troupe
