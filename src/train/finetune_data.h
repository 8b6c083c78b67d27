// What fine-tuning learns from and is judged by: items of tasks as prompts whose answers count, plain text, prompts
// with answers. Everything knows its splits by name; what has no files of its own to train on is divided by a fixed
// rule.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "data/tokenizer/tokenizer.h"
#include "eval/tasks/run_task.h"
#include "train/checkpoint.h"
#include "train/packed_texts.h"
#include "train/run_config.h"

namespace troupe {

// A task as fine-tuning asks it, and the parts of its data. The split that it trains on is the one that examples are
// drawn from; without such files, "SPLIT:train", "SPLIT:select" and "SPLIT:test" are fixed parts (80, 10 and 10 of 100
// by a hash of the context, one context in one part) of the split SPLIT that is evaluated.
struct TaskSplits {
  struct Split {
    std::string name;
    TaskData data;
  };
  TaskFile zero_shot;         // as it is
  TaskFile tuned;             // the lowest loss decides: nothing is subtracted from a score
  Split train, select, test;  // select and test are one if the names are equal
};
TaskSplits load_task_splits(const TaskFile& task, const FinetuneConfig& config);

// Something to learn, by name.
struct FinetuneSource {
  std::string name, train_split;
  std::string_view key;  // of the configuration that names it
  std::string checksum;
  std::vector<TrainingText> train;
  std::optional<TaskSplits> task;
  std::vector<TrainingText> held_out;  // of text and answers: a tenth of them by a hash, at least one
  int64_t shortened = 0;               // prompts that lost tokens on their left
  double weight = 0.0;                 // its share of the training (finetune.weights); 0: as many as it has
};

struct FinetuneModel {
  std::filesystem::path folder;
  std::string checksum;
  ModelConfig config;
  Tokenizer tokenizer;

  struct Teacher {
    std::filesystem::path folder;
    std::string checksum;
  };
  std::optional<Teacher> teacher;
};

// The model to begin with, and the teacher if there is one. Throws kUsage for a teacher that does not know the same tokens
// or reads less at a time.
FinetuneModel load_finetune_model(const FinetuneConfig& config, const std::string& where);

// Of one training: those of its tasks, then all text and answers. Throws kUsage for an unknown task, kData for data
// that is missing or damaged.
std::vector<FinetuneSource> load_finetune_sources(const FinetuneConfig& config, const FinetuneModel& model,
                                                  const std::string& where);

}  // namespace troupe
