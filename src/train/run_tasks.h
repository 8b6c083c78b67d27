// Evaluation tasks while a run goes on: those of train.tasks, at every validation, under every convention they have.
#pragma once

#include <filesystem>
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "data/tokenizer/tokenizer.h"
#include "eval/tasks/run_task.h"
#include "model/language_model.h"
#include "train/run_config.h"

namespace troupe {

// A task file FILE.toml, or one of the built-in tasks. `where` opens messages: the file and the key that names it.
// Throws kUsage for an unknown one and a broken file.
TaskFile find_task(const std::string& name, const std::vector<TaskFile>& built_in, const std::string& where);

class RunTasks {
 public:
  // Reads and checks the data of all tasks. Throws kUsage for an unknown task or a broken task file, kData for data
  // that is missing or damaged, and without a tokenizer.
  RunTasks(const RunConfig& config, const std::filesystem::path& tokenizer_json, const std::string& where);

  bool empty() const { return jobs_.empty(); }
  // One line a figure: {"schema":"troupe.task/1", "step", "task", "convention", "metric", "value", "stderr", "n",
  // "chance", "shots", "left_out"}. `between` is called meanwhile and may throw to stop.
  std::vector<nlohmann::ordered_json> run(LanguageModel& model, int64_t step,
                                          const std::function<void()>& between) const;

 private:
  struct Job {
    TaskFile task;
    TaskOptions options;
    TaskData data;
  };
  std::vector<Job> jobs_;
  std::optional<Tokenizer> tokenizer_;
};

}  // namespace troupe
