#include "eval/tasks/run_task.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>

#include "base/error.h"
#include "base/rng.h"
#include "eval/statistics.h"
#include "eval/tasks/metrics.h"
#include "eval/tasks/prompts.h"

namespace troupe {
namespace {

std::vector<Item> make_items(const TaskFile& task, const PromptSpec& spec, const SplitRecords& split) {
  std::vector<Item> items;
  for (const Record& record : split.records) items.push_back(make_item(task, spec, record));
  return items;
}

// Where an item's requests stand in the list of all.
struct ItemRequests {
  size_t first = 0;              // candidate c is request first + c
  size_t first_calibration = 0;  // then calibrations, for candidate c after option o: + o * candidates + c
};

class Draw {
 public:
  Draw(const PromptSpec& spec, const TaskOptions& options, const PromptMaker& maker, std::span<const Item> items)
      : spec_(spec), options_(options), maker_(maker), items_(items) {}

  // Sets mean_shots. `context` is the longest sequence of inputs.
  void make_requests(int64_t context) {
    int64_t shots = 0;
    for (const Item& item : items_) {
      const int64_t count = maker_.most_examples(spec_, item, context + 1);
      shots += count;
      examples_in_front.push_back(count);
      ItemRequests& at = places_.emplace_back();
      at.first = requests_.size();
      for (ScoreRequest& request : maker_.requests(count, spec_, item)) requests_.push_back(std::move(request));
      at.first_calibration = requests_.size();
      for (const std::string& calibration : item.calibrations)
        for (size_t c = 0; c < item.candidates(); ++c)
          requests_.push_back(maker_.request(count, calibration, spec_.delimiter, item.choice(c), item.where));
    }
    mean_shots = static_cast<double>(shots) / static_cast<double>(items_.size());
  }

  std::vector<ItemScores> score(LanguageModel& model, RequestStats& stats, const RequestProgress& progress) {
    answers_ = score_requests(model, requests_, options_.requests, stats, progress);
    std::vector<ItemScores> scores;
    for (size_t i = 0; i < items_.size(); ++i) {
      const size_t candidates = items_[i].candidates(), options = items_[i].calibrations.size();
      ItemScores& item = scores.emplace_back();
      for (size_t c = 0; c < candidates; ++c) {
        const ScoreAnswer& answer = answers_[places_[i].first + c];
        item.logprob.push_back(answer.logprob);
        item.is_greedy.push_back(answer.is_greedy);
        item.tokens.push_back(static_cast<int64_t>(requests_[places_[i].first + c].continuation.size()));
        double calibration = 0.0;
        for (size_t o = 0; o < options; ++o)
          calibration += answers_[places_[i].first_calibration + o * candidates + c].logprob;
        if (options > 0) item.calibration.push_back(calibration / static_cast<double>(options));
      }
    }
    return scores;
  }

  double mean_shots = 0.0;
  std::vector<int64_t> examples_in_front;  // of each item

 private:
  const PromptSpec& spec_;
  const TaskOptions& options_;
  const PromptMaker& maker_;
  std::span<const Item> items_;
  std::vector<ItemRequests> places_;
  std::vector<ScoreRequest> requests_;
  std::vector<ScoreAnswer> answers_;
};

// The name that others use for a figure.
std::string common_name(Metric metric) {
  switch (metric) {
    case Metric::kGreedy:
      return "acc";
    case Metric::kMacroF1:
    case Metric::kSquadF1:
      return "f1";
    case Metric::kSquadEm:
      return "em";
    default:
      return std::string(name_of_enum(metric));
  }
}

// Its own name where another metric of the task has the common one: acc and greedy, macro_f1 and squad_f1.
std::string figure_name(Metric metric, std::span<const Metric> metrics) {
  const auto same = [&](Metric other) { return other != metric && common_name(other) == common_name(metric); };
  return std::any_of(metrics.begin(), metrics.end(), same) ? std::string(name_of_enum(metric)) : common_name(metric);
}

struct Figure {
  std::string group;
  Metric metric;
  std::vector<Estimate> draws;  // value and error over items
  int64_t n = 0;
  double chance = kNan;
};

// Of the metrics that count right choices.
double chance_of(Metric metric, const Item& item) {
  const bool counts = metric == Metric::kAcc || metric == Metric::kAccNorm || metric == Metric::kAccBytes;
  return counts ? static_cast<double>(item.gold.size()) / static_cast<double>(item.candidates()) : kNan;
}

// All items, then each group; with groups the whole is the mean over them.
std::vector<Figure> figures_of(const PromptSpec& spec, Convention convention, std::span<const Item> items,
                               std::span<const ItemScores> scores) {
  std::map<std::string, std::vector<size_t>> groups;
  for (size_t i = 0; i < items.size(); ++i) groups[items[i].group].push_back(i);
  std::vector<Figure> figures;
  for (const Metric metric : spec.metrics) {
    const size_t whole = figures.size();
    figures.push_back({"", metric, {}, static_cast<int64_t>(items.size())});
    double sum = 0.0, squares = 0.0, chances = 0.0;
    for (const auto& [name, members] : groups) {
      std::vector<const Item*> group_items;
      std::vector<double> values;
      double chance = 0.0;
      for (const size_t i : members) {
        chance += chance_of(metric, items[i]);
        group_items.push_back(&items[i]);
        values.push_back(item_value(spec, convention, metric, items[i], scores[i]));
      }
      const Estimate estimate = metric_value(metric, group_items, values);
      sum += estimate.value, squares += estimate.standard_error * estimate.standard_error;
      chance /= static_cast<double>(members.size());
      chances += chance;
      if (!name.empty()) figures.push_back({name, metric, {estimate}, static_cast<int64_t>(members.size()), chance});
    }
    const auto count = static_cast<double>(groups.size());
    figures[whole].draws = {{sum / count, std::sqrt(squares) / count}};
    figures[whole].chance = chances / count;
  }
  return figures;
}

TaskFigure summary(const Figure& figure, const PromptSpec& spec, const TaskData& data) {
  std::vector<double> values, errors;
  for (const Estimate& draw : figure.draws) values.push_back(draw.value), errors.push_back(draw.standard_error);
  const Estimate over_draws = mean_of(values);
  TaskFigure result{.group = figure.group,
                    .metric = figure_name(figure.metric, spec.metrics),
                    .value = over_draws.value,
                    .n = figure.n};
  for (const auto& [group, count] : data.left_out)
    if (figure.group.empty() || figure.group == group) result.left_out += count;
  result.chance = figure.chance;
  result.item_error = mean_of(errors).value;
  result.draw_error = over_draws.standard_error;
  result.interval_half = values.size() > 1
                             ? student_t(0.95, static_cast<int64_t>(values.size()) - 1) * over_draws.standard_error
                             : kNormal95 * result.item_error;
  return result;
}

void add_details(const PromptSpec& spec, const TaskOptions& options, std::span<const Item> items,
                 std::span<const ItemScores> scores, std::span<const std::string> examples,
                 std::span<const int64_t> examples_in_front, std::vector<ItemDetail>& details) {
  for (size_t i = 0; i < items.size(); ++i) {
    const Item& item = items[i];
    const size_t choice =
        item.candidates() > 1 ? chosen(spec, options.convention, spec.metrics[0], item, scores[i]) : 0;
    for (size_t c = 0; c < item.candidates(); ++c)
      details.push_back(
          {.where = item.where,
           .examples = {examples.begin(), examples.begin() + examples_in_front[i]},
           .context = item.context(c),
           .continuation = spec.delimiter + item.choice(c),
           .logprob = scores[i].logprob[c],
           .calibration = scores[i].calibration.empty() ? 0.0 : scores[i].calibration[c],
           .is_greedy = scores[i].is_greedy[c] != 0,
           .is_gold = std::find(item.gold.begin(), item.gold.end(), static_cast<int>(c)) != item.gold.end(),
           .is_chosen = c == choice});
  }
}

}  // namespace

std::vector<size_t> draw_examples(size_t pool, size_t count, uint64_t seed, int64_t draw) {
  std::vector<size_t> order(pool);
  std::iota(order.begin(), order.end(), size_t{0});
  Rng rng(mix_key(seed, static_cast<uint64_t>(draw)));
  count = std::min(count, pool);
  for (size_t i = 0; i < count; ++i) std::swap(order[i], order[i + rng.below(pool - i)]);
  order.resize(count);
  return order;
}

TaskData load_task_data(const TaskFile& task, const TaskOptions& options) {
  const std::optional<PromptSpec>& prompts = task.prompts(options.convention);
  if (!prompts)
    fail(ErrorCode::kUsage, "{}: expected prompts of the {} convention, got a task file without them", task.name,
         name_of_enum(options.convention));
  if (options.shots > 0 && task.shots.empty())
    fail(ErrorCode::kUsage, "{}: expected --shots 0 (the task has no examples to put in front), got {}", task.name,
         options.shots);
  const SplitRecords split = load_split(task, options.data_dir, task.evaluate);
  TaskData data{.items = make_items(task, *prompts, split), .draws = {}, .checksum = split.checksum};
  data.skipped = split.skipped;
  if (options.limit > 0) {  // of every group alike, for the task's value is the mean over them
    std::map<std::string, int64_t> seen;
    std::vector<Item> kept;
    for (Item& item : data.items) {
      if (++seen[item.group] <= options.limit)
        kept.push_back(std::move(item));
      else
        ++data.left_out[item.group];
    }
    data.items = std::move(kept);
  }
  if (options.shots == 0) {
    data.draws.emplace_back();
    return data;
  }
  const SplitRecords examples = load_split(task, options.data_dir, task.shots);
  if (examples.files == split.files)
    fail(ErrorCode::kData, "{}: {}: expected examples from other files than the items, got {}", task.name, task.shots,
         examples.files.front().string());
  const std::vector<Item> pool = make_items(task, *prompts, examples);
  for (int64_t d = 0; d < std::max<int64_t>(1, options.draws); ++d) {
    TaskData::Examples& draw = data.draws.emplace_back();
    for (const size_t i : draw_examples(pool.size(), static_cast<size_t>(options.shots), options.seed, d)) {
      draw.texts.push_back(example_text(*prompts, pool[i]));
      draw.places.push_back(pool[i].where);
    }
  }
  return data;
}

TaskReport run_task(LanguageModel& model, const Tokenizer& tokenizer, const TaskFile& task, const TaskOptions& options,
                    const TaskData& data, const TaskProgress& progress, std::vector<ItemDetail>* details) {
  if (model.config().eos_id < 0)
    fail(ErrorCode::kUsage, "{}: expected a model with an end-of-text token (model.eos_id), got none", task.name);
  const PromptSpec& spec = *task.prompts(options.convention);
  const std::vector<Item>& items = data.items;
  TaskReport report{.task = task.name, .split = task.evaluate, .data_checksum = data.checksum};
  report.convention = options.convention;
  report.score = options.convention == Convention::kPaper ? name_of_enum(spec.score) : "logprob";
  report.shots = options.shots;
  report.draws = static_cast<int64_t>(data.draws.size());
  report.skipped = data.skipped;

  PromptMaker maker(tokenizer, options.convention, static_cast<int32_t>(model.config().eos_id));
  const int64_t context = options.requests.context > 0 ? options.requests.context : model.config().context;
  std::vector<Figure> figures;
  for (int64_t d = 0; d < report.draws; ++d) {
    const TaskData::Examples& examples = data.draws[static_cast<size_t>(d)];
    maker.set_examples(examples.texts);
    Draw draw(spec, options, maker, items);
    draw.make_requests(context);
    const std::vector<ItemScores> scores = draw.score(model, report.requests, [&](double share) {
      if (progress) progress((static_cast<double>(d) + share) / static_cast<double>(report.draws));
    });
    report.mean_shots += draw.mean_shots / static_cast<double>(report.draws);
    std::vector<Figure> found = figures_of(spec, options.convention, items, scores);
    if (figures.empty()) {
      figures = std::move(found);
    } else {
      for (size_t i = 0; i < figures.size(); ++i) figures[i].draws.push_back(found[i].draws[0]);
    }
    if (details && d + 1 == report.draws)
      add_details(spec, options, items, scores, examples.places, draw.examples_in_front, *details);
  }
  for (const Figure& figure : figures) report.figures.push_back(summary(figure, spec, data));
  for (const Estimate& draw : figures.front().draws) report.draw_values.push_back(draw.value);
  if (report.draws == 1)
    for (TaskFigure& figure : report.figures) figure.draw_error = kNan;
  return report;
}

}  // namespace troupe
