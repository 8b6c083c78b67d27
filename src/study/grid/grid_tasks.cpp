#include "study/grid/grid_tasks.h"

#include <fmt/ranges.h>

#include <algorithm>

#include "base/error.h"
#include "base/log.h"
#include "base/quantity.h"
#include "eval/statistics.h"
#include "io/checksum.h"
#include "train/run_tasks.h"

namespace troupe {
namespace {

// Of all that decides the answers: texts of the items, which of them are right, and how they are scored.
std::string checksum_of_items(const std::vector<Item>& items, const PromptSpec& spec, Convention convention) {
  std::string all =
      fmt::format("{} {} {}\n", name_of_enum(convention), name_of_enum(spec.score), name_of_enum(spec.metrics.front()));
  const auto add = [&](const std::vector<std::string>& texts) {
    for (const std::string& text : texts) all += fmt::format("{} {}\n", text.size(), text);
    all += '\n';
  };
  for (const Item& item : items) {
    add(item.contexts), add(item.choices), add(item.calibrations);
    all += fmt::format("{}\n{}\n", spec.delimiter, fmt::join(item.gold, " "));
  }
  return to_hex(xxh3(all));
}

// Of blind choices; NaN where an item is one text that is predicted or not.
double chance_of_items(const std::vector<Item>& items) {
  double sum = 0.0;
  for (const Item& item : items)
    sum +=
        item.candidates() > 1 ? static_cast<double>(item.gold.size()) / static_cast<double>(item.candidates()) : kNan;
  return sum / static_cast<double>(items.size());
}

}  // namespace

double TaskScores::accuracy() const {
  return static_cast<double>(std::count(right.begin(), right.end(), '1')) / static_cast<double>(right.size());
}

GridTasks::GridTasks(const StudyConfig& study, const std::string& where) {
  const StudyTasks& asked = study.tasks;
  if (asked.names.empty()) return;
  if (asked.data_dir.empty())
    fail(ErrorCode::kUsage, "{}: study.tasks.data_dir: expected the folder of the tasks' data, got none", where);
  const std::string key = where + ": study.tasks.names";
  const std::vector<TaskFile> built_in = load_tasks();
  for (const std::string& name : asked.names) {
    TaskFile task = find_task(name, built_in, key);
    if (std::any_of(jobs_.begin(), jobs_.end(), [&](const Job& job) { return job.task.name == task.name; }))
      fail(ErrorCode::kUsage, "{}: expected each task once, got {} twice", key, task.name);
    const Convention convention = task.paper ? Convention::kPaper : Convention::kHarness;
    const PromptSpec& spec = *task.prompts(convention);
    const Metric metric = spec.metrics.front();
    if (metric != Metric::kAcc && metric != Metric::kGreedy)
      fail(ErrorCode::kUsage, "{}: expected tasks that count right answers (acc, greedy), got {} ({})", key, task.name,
           name_of_enum(metric));
    if (!find_split(task, asked.data_dir, task.evaluate).source) {
      log::warning("task {}: no data in {}: left out", task.name,
                   (std::filesystem::path(asked.data_dir) / task.folder).string());
      continue;
    }
    TaskOptions options{.data_dir = asked.data_dir, .convention = convention, .shots = 0, .draws = 1};
    options.limit = asked.limit;
    TaskData data = load_task_data(task, options);
    TaskFacts facts{.task = task.name,
                    .convention = std::string(name_of_enum(convention)),
                    .metric = std::string(name_of_enum(metric)),
                    .made_from = checksum_of_items(data.items, spec, convention),
                    .items = static_cast<int64_t>(data.items.size())};
    for (const auto& [group, count] : data.left_out) facts.left_out += count;
    facts.chance = chance_of_items(data.items);
    facts_.push_back(std::move(facts));
    jobs_.push_back({std::move(task), std::move(options), std::move(data)});
  }
}

bool GridTasks::all_in(const std::vector<TaskScores>& scores) const {
  return std::all_of(facts_.begin(), facts_.end(), [&](const TaskFacts& task) { return find_scores(scores, task); });
}

std::vector<TaskScores> GridTasks::score(LanguageModel& model, const Tokenizer& tokenizer,
                                         const std::function<void(const std::string&, double)>& progress,
                                         Communicator* ranks) const {
  std::vector<TaskScores> scores;
  for (size_t j = 0; j < jobs_.size(); ++j) {
    const Job& job = jobs_[j];
    std::vector<ItemDetail> details;
    TaskOptions options = job.options;
    options.requests.ranks = ranks;
    run_task(
        model, tokenizer, job.task, options, job.data, [&](double share) { progress(job.task.name, share); }, &details);
    TaskScores& own = scores.emplace_back();
    own.facts = facts_[j];
    auto detail = details.begin();  // of every candidate
    const bool greedy = own.facts.metric == name_of_enum(Metric::kGreedy);
    for (const Item& item : job.data.items) {
      bool right = false;
      for (size_t c = 0; c < item.candidates(); ++c, ++detail)
        right |= greedy ? detail->is_greedy : detail->is_chosen && detail->is_gold;
      own.right += right ? '1' : '0';
    }
  }
  return scores;
}

const TaskScores* find_scores(const std::vector<TaskScores>& scores, const TaskFacts& task) {
  const auto found =
      std::find_if(scores.begin(), scores.end(), [&](const TaskScores& own) { return own.facts == task; });
  return found == scores.end() ? nullptr : &*found;
}

}  // namespace troupe
