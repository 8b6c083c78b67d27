// Runs a task: items to requests, answers to figures.
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "data/tokenizer/tokenizer.h"
#include "eval/requests.h"
#include "eval/tasks/items.h"
#include "eval/tasks/task_file.h"

namespace troupe {

struct TaskOptions {
  std::filesystem::path data_dir;
  Convention convention = Convention::kPaper;
  int64_t shots = 0;   // most examples in front of an item
  int64_t draws = 25;  // samples of examples, when shots > 0
  uint64_t seed = 0;
  int64_t limit = 0;  // only the first items of each group (of a task without groups: of all); 0: all
  RequestOptions requests;
};

// One figure.
struct TaskFigure {
  std::string group;  // "" for the task as a whole
  std::string metric;
  double value = 0.0;
  double item_error = 0.0;     // standard error over items (binomial for accuracies), the same examples for each draw
  double draw_error = 0.0;     // standard error over draws; NaN without draws
  double interval_half = 0.0;  // half the 95 % interval: t over draws, or 1.96 item errors; NaN if unknown
  int64_t n = 0;               // items
  int64_t left_out = 0;        // items by options.limit: then this is no result of the task
  double chance = 0.0;         // accuracy of a blind choice; NaN for other metrics
};

struct TaskReport {
  std::string task, split, data_checksum;
  Convention convention = Convention::kPaper;
  std::string score;  // paper: sum, mean, ...; harness: "logprob"
  int64_t shots = 0, draws = 1;
  double mean_shots = 0.0;  // that fitted
  int64_t skipped = 0;      // records, by the task's rule
  RequestStats requests;
  std::vector<TaskFigure> figures;
  std::vector<double> draw_values;  // of the first figure
};

// What each item was given, for comparisons with other programs: one entry per item and candidate of the last draw.
struct ItemDetail {
  std::string where;
  std::vector<std::string> examples;  // where the records in front are from, in their order
  std::string context, continuation;  // without the examples
  double logprob = 0.0, calibration = 0.0;
  bool is_greedy = false, is_gold = false, is_chosen = false;
};

// `share` of the task's work is done.
using TaskProgress = std::function<void(double share)>;

// What the files hold for one convention: every record is checked, those that a limit leaves out and examples that no
// draw takes too.
struct TaskData {
  struct Examples {
    std::vector<std::string> texts, places;  // in the order in front of an item
  };
  std::vector<Item> items;
  std::vector<Examples> draws;  // one without examples if there are no shots
  std::string checksum;
  int64_t skipped = 0;
  std::map<std::string, int64_t> left_out;  // items of a group, by the limit; groups without any are not named
};

// Needs no model. Throws kUsage if the task has no prompts of this convention, or shots were asked for where it has no
// split to draw them from; otherwise as load_split() and make_item() do.
TaskData load_task_data(const TaskFile& task, const TaskOptions& options);

// `data` was loaded with the same task and options. Throws as score_requests() and PromptMaker::request() do.
TaskReport run_task(LanguageModel& model, const Tokenizer& tokenizer, const TaskFile& task, const TaskOptions& options,
                    const TaskData& data, const TaskProgress& progress = {},
                    std::vector<ItemDetail>* details = nullptr);

// Records of the pool for draw `draw`: `count` different ones, in random order.
std::vector<size_t> draw_examples(size_t pool, size_t count, uint64_t seed, int64_t draw);

}  // namespace troupe
