#include "study/grid/grid_plan.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/machine.h"
#include "base/quantity.h"
#include "io/json_fields.h"
#include "study/grid/run_record.h"
#include "study/memory.h"
#include "train/run_data.h"

namespace troupe {
namespace {

std::string whole(int64_t value) {
  std::string text = std::to_string(value);
  for (size_t at = text.size(); at > 3;) text.insert(at -= 3, ",");
  return text;
}

std::string known(double value, const std::string& text) { return std::isfinite(value) ? text : number_text(value, 0); }

double as_double(int64_t value) { return static_cast<double>(value); }

template <class T, class Of>
T sum(const std::vector<PlannedWork>& work, const Of& of) {
  T total{};
  for (const PlannedWork& item : work) total += of(item);
  return total;
}

int64_t to_do(const PlannedWork& item) { return item.fits ? item.trainings - item.done : 0; }

// Whether a training of a grid is over: scored for the choice of a rate, or measured, or diverged.
bool is_finished(const std::filesystem::path& run, bool trial) {
  const auto record = read_record(run);
  return record && (trial || record->measured || record->status == RunStatus::kDiverged);
}

// As much as fits, cheapest first. The order is that of FLOPs, which no other program disturbs.
void fit(std::vector<PlannedWork>& work, double max_hours) {
  std::stable_sort(work.begin(), work.end(),
                   [](const PlannedWork& a, const PlannedWork& b) { return a.flops < b.flops; });
  if (max_hours <= 0.0) return;
  double used = 0.0;
  for (PlannedWork& item : work) {
    used += static_cast<double>(item.trainings) * item.seconds;
    item.fits = used <= 3600.0 * max_hours;
  }
}

// Within a model everything waits for its trials.
void drop_without_trials(std::vector<PlannedWork>& work, const Grid& grid) {
  for (const PlannedWork& trials : work)
    if (trials.trials && !trials.fits)
      for (PlannedWork& item : work)
        if (grid.points[item.point].model == grid.points[trials.point].model) item.fits = false;
}

}  // namespace

int64_t GridPlan::trainings() const {
  return sum<int64_t>(work, [](const PlannedWork& item) { return item.fits ? item.trainings : 0; });
}
int64_t GridPlan::left_out() const {
  return sum<int64_t>(work, [](const PlannedWork& item) { return item.fits ? 0 : item.trainings; });
}
int64_t GridPlan::done() const {
  return sum<int64_t>(work, [](const PlannedWork& item) { return item.fits ? item.done : 0; });
}
double GridPlan::flops() const {
  return sum<double>(work, [](const PlannedWork& item) { return item.fits ? as_double(item.trainings) * item.flops : 0.0; });
}
double GridPlan::seconds() const {
  return sum<double>(work,
                     [](const PlannedWork& item) { return item.fits ? as_double(item.trainings) * item.seconds : 0.0; });
}
double GridPlan::flops_to_do() const {
  return sum<double>(work, [](const PlannedWork& item) { return as_double(to_do(item)) * item.flops; });
}
double GridPlan::seconds_to_do() const {
  return sum<double>(work, [](const PlannedWork& item) { return as_double(to_do(item)) * item.seconds; });
}

GridPlan plan_grid(const Grid& grid, const GridConfig& config, const Speeds& speeds) {
  if (config.max_hours > 0.0 && config.speed_seconds <= 0.0)
    fail(ErrorCode::kUsage, "study.grid.max_hours: expected study.grid.speed_seconds above 0 with it, got 0");
  GridPlan plan;
  plan.max_hours = config.max_hours;
  plan.free_memory_bytes = free_memory_bytes(read_machine());
  for (size_t p = 0; p < grid.points.size(); ++p) {
    const GridPoint& point = grid.points[p];
    const GridModel& model = grid.models[point.model];
    const PlannedWork one{.point = p,
                          .flops = grid.train_flops(point),
                          .seconds = static_cast<double>(grid.tokens(point)) / speeds.of(model)};
    const bool has_trials = config.lr_trials > 0 && &grid.smallest(point.model) == &point;
    if (has_trials)
      plan.work.push_back(one), plan.work.back().trials = true, plan.work.back().trainings = config.lr_trials;
    for (size_t s = has_trials ? 1 : 0; s < point.seeds.size(); ++s)
      plan.work.push_back(one), plan.work.back().seed = point.seeds[s];
  }
  fit(plan.work, config.max_hours);
  drop_without_trials(plan.work, grid);
  for (const PlannedWork& item : plan.work) {
    if (!item.fits) continue;
    const GridModel& model = grid.models[grid.points[item.point].model];
    const int64_t model_bytes = 4 * model.params();
    plan.memory_bytes = std::max(plan.memory_bytes, model.memory_bytes());
    // Checkpoints with two moments, one more while the next is written; models of trials wait for the last of them.
    plan.disk_bytes = std::max(plan.disk_bytes, (model.config.train.keep_last + 1) * 3 * model_bytes +
                                                    (1 + (item.trials ? item.trainings : 0)) * model_bytes);
  }
  return plan;
}

void count_epochs(GridPlan& plan, const Grid& grid, const StudyConfig& study, const StudyData& data) {
  const GridPoint* longest = nullptr;
  for (const PlannedWork& item : plan.work)
    if (item.fits && (!longest || grid.points[item.point].budget > longest->budget)) longest = &grid.points[item.point];
  if (!longest) return;
  RunConfig config = grid.models[longest->model].config;
  take_data(config, study, data);
  config.data.verify = false;
  const Loader loader = open_training_data(config, grid.models[longest->model].path);
  plan.epochs.clear();
  for (const Loader::Use& use : loader.use(grid.tokens(*longest) / grid.models[longest->model].update_tokens())) {
    int64_t tokens = 0;
    for (const Corpus& corpus : loader.corpora())
      if (corpus.name == use.name) tokens = corpus.data->tokens();
    plan.epochs.push_back({use.name, tokens, use.epochs});
    if (use.epochs > study.grid.max_epochs)
      fail(ErrorCode::kUsage,
           "study.grid.tokens: expected runs that read each domain at most {:g} times (study.grid.max_epochs), got {} "
           "tokens, which read {} {:.2f} times",
           study.grid.max_epochs, longest->budget, use.name, use.epochs);
  }
}

void count_done(GridPlan& plan, const Grid& grid, const std::filesystem::path& runs) {
  for (PlannedWork& item : plan.work) {
    const GridPoint& point = grid.points[item.point];
    const std::string seed = fmt::format("seed-{}", item.trials ? point.seeds.front() : item.seed);
    const std::filesystem::path folder = runs / grid.name(point);
    item.done = 0;
    if (!std::filesystem::is_directory(folder)) continue;
    for (const auto& rate : std::filesystem::directory_iterator(folder))
      if (is_finished(rate.path() / seed, item.trials)) ++item.done;
    item.done = std::min(item.done, item.trainings);
  }
}

nlohmann::ordered_json to_json(const GridPlan& plan, const Grid& grid, const Speeds& speeds) {
  using Json = nlohmann::ordered_json;
  Json models = Json::array(), work = Json::array(), epochs = Json::array();
  for (const GridModel& model : grid.models)
    models.push_back({{"model", model.name()},
                      {"params", model.params()},
                      {"active_params", model.active_params()},
                      {"flops_per_token", model.flops_per_token()},
                      {"memory_bytes", model.memory_bytes()},
                      {"tokens_per_s", speeds.of(model)}});
  for (const PlannedWork& item : plan.work)
    work.push_back({{"point", grid.name(grid.points[item.point])},
                    {"trials", item.trials},
                    {"seed", item.trials ? grid.points[item.point].seeds.front() : item.seed},
                    {"trainings", item.trainings},
                    {"train_flops", item.flops},
                    {"seconds", item.seconds},
                    {"fits", item.fits},
                    {"done", item.done}});
  for (const GridPlan::Epochs& domain : plan.epochs)
    epochs.push_back({{"data", domain.domain}, {"tokens", domain.tokens}, {"epochs", domain.most}});
  return {{"schema", "troupe.study.plan/1"},
          {"models", models},
          {"work", work},
          {"epochs", epochs},
          {"trainings", plan.trainings()},
          {"left_out", plan.left_out()},
          {"done", plan.done()},
          {"train_flops", plan.flops()},
          {"train_flops_to_do", plan.flops_to_do()},
          {"seconds", plan.seconds()},
          {"seconds_to_do", plan.seconds_to_do()},
          {"memory_bytes", plan.memory_bytes},
          {"free_memory_bytes", plan.free_memory_bytes ? Json(*plan.free_memory_bytes) : Json()},
          {"disk_bytes", plan.disk_bytes}};
}

std::vector<std::vector<std::string>> models_table(const Grid& grid, const Speeds& speeds) {
  std::vector<std::vector<std::string>> rows = {
      {"family/size", "parameters", "active", "FLOPs a token", "memory", "tokens/s", "FLOP/s"}};
  for (const GridModel& model : grid.models) {
    const double speed = speeds.of(model);
    rows.push_back({model.name(), short_number(static_cast<double>(model.params())),
                    short_number(static_cast<double>(model.active_params())), short_number(model.flops_per_token()),
                    short_bytes(static_cast<double>(model.memory_bytes())), known(speed, short_number(speed)),
                    known(speed, short_number(speed * model.flops_per_token()))});
  }
  return rows;
}

std::vector<std::vector<std::string>> budgets_table(const GridPlan& plan, const Grid& grid) {
  std::vector<std::vector<std::string>> rows = {{"point", "trainings", "each", "time of each", ""}};
  for (const PlannedWork& item : plan.work) {
    const std::string point = grid.name(grid.points[item.point]);
    const std::string state = !item.fits                      ? "left out"
                              : item.done == item.trainings   ? "done"
                              : item.done > 0                 ? fmt::format("{} done", item.done)
                                                              : "";
    if (!item.trials && rows.back().front() == point && rows.back().back() == state) {
      rows.back()[1] = std::to_string(std::stoll(rows.back()[1]) + 1);  // another seed
      continue;
    }
    rows.push_back({point + (item.trials ? " (learning rates)" : ""), std::to_string(item.trainings),
                    short_flops(item.flops), known(item.seconds, short_duration(item.seconds)), state});
  }
  return rows;
}

std::vector<std::vector<std::string>> epochs_table(const GridPlan& plan) {
  std::vector<std::vector<std::string>> rows = {{"training text", "tokens", "epochs of the longest run"}};
  for (const GridPlan::Epochs& domain : plan.epochs)
    rows.push_back({domain.domain, whole(domain.tokens), fmt::format("{:.2f}", domain.most)});
  return rows;
}

std::vector<std::string> plan_notes(const GridPlan& plan, const Grid& grid, const Speeds& speeds) {
  const GridModel& model = grid.models.front();
  const bool begun = plan.done() > 0;
  const auto of_which = [&](const std::string& to_do) {
    return begun ? fmt::format(", {} of it to do", to_do) : std::string();
  };
  std::vector<std::string> notes = {
      fmt::format("fixed      context {}, vocabulary {}, {} tokens an update, the same data in the same order",
                  model.config.model.context, whole(model.config.model.vocab_size), whole(model.update_tokens())),
      fmt::format("trainings  {}{}{}", plan.trainings(), begun ? fmt::format(", {} done", plan.done()) : std::string(),
                  plan.left_out()
                      ? fmt::format(", {} left out (study.grid.max_hours = {:g})", plan.left_out(), plan.max_hours)
                      : std::string()),
      fmt::format("FLOPs      {}{}", short_flops(plan.flops()), of_which(short_flops(plan.flops_to_do()))),
      fmt::format("time       {}", std::isfinite(plan.seconds())
                                       ? fmt::format("{} here, measures not counted{}", short_duration(plan.seconds()),
                                                     of_which(short_duration(plan.seconds_to_do())))
                                       : std::string("not known (study.grid.speed_seconds)")),
      fmt::format("memory     {} at most, {} free", short_bytes(static_cast<double>(plan.memory_bytes)),
                  plan.free_memory_bytes ? short_bytes(static_cast<double>(*plan.free_memory_bytes)) : "unknown"),
      fmt::format("disk       {} at most at once for each process, besides the data",
                  short_bytes(static_cast<double>(plan.disk_bytes)))};
  if (speeds.disturbed())
    notes.push_back(
        fmt::format("speeds     measured at a load of {:.1f}: not those of an idle machine "
                    "(--measure-speeds measures again)",
                    speeds.load));
  return notes;
}

}  // namespace troupe
