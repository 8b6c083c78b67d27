#include "study/eval_results.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/quantity.h"
#include "io/json_fields.h"
#include "io/json_file.h"
#include "io/json_text.h"
#include "study/result.h"

namespace troupe {
namespace {

size_t index_of(const EvaluatedModel& model, const std::string& where, std::vector<EvaluatedModel>& models) {
  const auto same = std::find_if(models.begin(), models.end(), [&](const auto& m) { return m.name == model.name; });
  if (same == models.end()) {
    models.push_back(model);
    return models.size() - 1;
  }
  if (same->facts.model_checksum != model.facts.model_checksum)
    fail(ErrorCode::kData, "{}: model_checksum: expected {}, as in other results of {}, got {} (write NAME=FILE)",
         where, same->facts.model_checksum, model.name, model.facts.model_checksum);
  if (!std::isfinite(same->facts.train_flops))
    same->facts.train_tokens = model.facts.train_tokens, same->facts.train_flops = model.facts.train_flops;
  if (std::isfinite(model.facts.train_tokens) && model.facts.train_tokens != same->facts.train_tokens)
    fail(ErrorCode::kData, "{}: train_tokens: expected {}, as in other results of {}, got {} (--train-tokens)", where,
         same->facts.train_tokens, model.name, model.facts.train_tokens);
  return static_cast<size_t>(same - models.begin());
}

constexpr int64_t kMostItems = 1'000'000'000'000'000;

EvalFigure figure_of(const TaskLine& line) {
  const auto [low, high] = line.interval;
  return {.kind = EvalFigure::kTask,
          .set = line.task,
          .group = line.group.value_or(""),
          .convention = line.convention,
          .metric = line.metric,
          .shots = line.shots,
          .draws = line.draws,
          .n = line.n,
          .left_out = line.left_out,
          .value = line.value,
          .half_interval = 0.5 * (high - low),
          .chance = line.chance,
          .data_checksum = line.data_checksum};
}

EvalFigure figure_of(const PerplexityLine& line) {
  return {.kind = EvalFigure::kPerplexity,
          .set = line.data,
          .convention = line.mode,
          .metric = "nll",
          .n = line.documents,
          .left_out = line.skipped,
          .value = line.nll,
          .half_interval = half_interval95(line.standard_error, line.documents),
          .documents = line.document_scores,
          .data_checksum = line.data_checksum};
}

EvalFigure figure_of(const BiasLine& line) {
  return {.kind = EvalFigure::kBias,
          .set = line.set,
          .group = line.category,
          .convention = line.convention,
          .metric = line.metric,
          .n = line.n,
          .value = line.value,
          .half_interval = kNormal95 * line.standard_error,
          .data_checksum = line.data_checksum};
}

// Adds what a line of this kind says.
template <class Line>
void add_line(const nlohmann::json& object, const std::string& where, const std::string& name, EvalResults& results) {
  Line line;
  read_json_fields(object, where, line);
  const ModelFacts* facts;
  if constexpr (std::is_same_v<Line, PerplexityLine>) facts = &line.model;
  else facts = &line.facts.model;
  EvalFigure figure = figure_of(line);
  if (figure.n > kMostItems || figure.left_out > kMostItems || figure.left_out < 0)
    fail(ErrorCode::kData, "{}: expected counts below 1e15, got {} and {}", where, figure.n, figure.left_out);
  figure.model = index_of({.name = name.empty() ? facts->model : name, .facts = *facts}, where, results.models);
  if (!results.index.try_emplace({figure.model, figure.key()}, results.figures.size()).second)
    fail(ErrorCode::kData, "{}: expected a figure once for each model, got {}{} {} with {} shots of {} again", where,
         figure.set, figure.group.empty() ? "" : " " + figure.group, figure.metric, figure.shots,
         results.models[figure.model].name);
  results.figures.push_back(std::move(figure));
}

}  // namespace

std::string EvaluatedModel::family() const {
  return facts.experts == 0 ? "dense" : "MoE, " + counted(facts.experts, "expert");
}

std::string EvalFigure::key() const {
  return fmt::format("{}\n{}\n{}\n{}\n{}\n{}", static_cast<int>(kind), set, group, convention, metric, shots);
}

const EvalFigure* EvalResults::find(size_t model, const std::string& key) const {
  const auto found = index.find({model, key});
  return found == index.end() ? nullptr : &figures[found->second];
}

void read_eval_results(std::string_view text, const std::string& where, const std::string& name, EvalResults& results) {
  for (int64_t number = 1; !text.empty(); ++number) {
    const size_t end = std::min(text.find('\n'), text.size());
    const std::string_view content = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (content.find_first_not_of(" \t\r") == content.npos) continue;
    const std::string place = fmt::format("{}:{}", where, number);
    const nlohmann::json object = parse_json(content, place);
    const std::string schema = schema_of(object, place);
    if (schema == TaskLine::kSchema)
      add_line<TaskLine>(object, place, name, results);
    else if (schema == PerplexityLine::kSchema)
      add_line<PerplexityLine>(object, place, name, results);
    else if (schema == BiasLine::kSchema)
      add_line<BiasLine>(object, place, name, results);
    else if (schema != TaskAverageLine::kSchema && schema != kEvalComparison)
      fail(ErrorCode::kData, "{}: schema: expected {}, {} or {}, got {}", place, TaskLine::kSchema,
           PerplexityLine::kSchema, BiasLine::kSchema, json_excerpt(nlohmann::json(schema)));
  }
}

}  // namespace troupe
