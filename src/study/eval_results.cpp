#include "study/eval_results.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "eval/statistics.h"
#include "io/json_file.h"
#include "io/json_text.h"

namespace troupe {
namespace {

// The fields of one line.
class Line {
 public:
  Line(const nlohmann::json& object, const std::string& where) : object_(object), where_(where) {
    if (!object.is_object()) fail(ErrorCode::kData, "{}: expected a JSON object, got {}", where, object.type_name());
  }

  std::string text(const char* key) const {
    const nlohmann::json& value = at(key);
    if (!value.is_string()) refuse(key, "a text", value);
    return value.get<std::string>();
  }
  std::string text_or_null(const char* key) const { return at(key).is_null() ? "" : text(key); }
  int64_t count(const char* key) const {
    const nlohmann::json& value = at(key);
    if (!value.is_number_unsigned() || value.get<uint64_t>() > uint64_t{1} << 62) refuse(key, "a count", value);
    return value.get<int64_t>();
  }
  // 0 if there is no such key: results of a program that did not know it yet.
  int64_t count_or_none(const char* key) const { return object_.contains(key) ? count(key) : 0; }
  double number(const char* key) const { return number(key, at(key)); }  // null: NaN
  double half_of_interval(const char* key) const {
    const nlohmann::json& value = at(key);
    if (!value.is_array() || value.size() != 2) refuse(key, "two numbers", value);
    return 0.5 * (number(key, value[1]) - number(key, value[0]));
  }
  [[noreturn]] void refuse(const char* key, const char* expected, const nlohmann::json& got) const {
    fail(ErrorCode::kData, "{}: {}: expected {}, got {}", where_, key, expected,
         json_excerpt(got));
  }

 private:
  const nlohmann::json& at(const char* key) const {
    const auto found = object_.find(key);
    if (found == object_.end()) fail(ErrorCode::kData, "{}: {}: expected a value, got no such key", where_, key);
    return *found;
  }
  double number(const char* key, const nlohmann::json& value) const {
    if (!value.is_null() && !value.is_number()) refuse(key, "a number", value);
    return number_or_nan(value);
  }

  const nlohmann::json& object_;
  const std::string& where_;
};

EvaluatedModel model_of(const Line& line, const std::string& name) {
  return {.name = name.empty() ? line.text("model") : name,
          .checksum = line.text("model_checksum"),
          .params = line.number("params"),
          .active_params = line.number("active_params"),
          .experts = line.count("experts"),
          .train_tokens = line.number("train_tokens"),
          .train_flops = line.number("train_flops")};
}

size_t index_of(const EvaluatedModel& model, const std::string& where, std::vector<EvaluatedModel>& models) {
  const auto same = std::find_if(models.begin(), models.end(), [&](const auto& m) { return m.name == model.name; });
  if (same == models.end()) {
    models.push_back(model);
    return models.size() - 1;
  }
  if (same->checksum != model.checksum)
    fail(ErrorCode::kData, "{}: model_checksum: expected {}, as in other results of {}, got {} (write NAME=FILE)",
         where, same->checksum, model.name, model.checksum);
  if (!std::isfinite(same->train_flops)) same->train_tokens = model.train_tokens, same->train_flops = model.train_flops;
  if (std::isfinite(model.train_tokens) && model.train_tokens != same->train_tokens)
    fail(ErrorCode::kData, "{}: train_tokens: expected {}, as in other results of {}, got {} (--train-tokens)", where,
         same->train_tokens, model.name, model.train_tokens);
  return static_cast<size_t>(same - models.begin());
}

EvalFigure figure_of(const Line& line) {
  const std::string schema = line.text("schema");
  EvalFigure figure{.data_checksum = line.text("data_checksum")};
  figure.half_interval = kNormal95 * line.number("stderr");
  if (schema == "troupe.eval.tasks/1") {
    figure.set = line.text("task"), figure.group = line.text_or_null("group");
    figure.convention = line.text("convention"), figure.metric = line.text("metric");
    figure.shots = line.count("shots"), figure.n = line.count("n"), figure.left_out = line.count_or_none("left_out");
    figure.value = line.number("value"), figure.chance = line.number("chance");
    figure.half_interval = line.half_of_interval("interval");
  } else if (schema == "troupe.eval.ppl/1") {
    figure.kind = EvalFigure::kPerplexity, figure.set = line.text("data"), figure.metric = "nll";
    figure.n = line.count("documents"), figure.left_out = line.count_or_none("skipped");
    figure.value = line.number("nll"), figure.chance = kNan;
    figure.convention = line.text("mode");
  } else if (schema == "troupe.eval.bias/1") {
    figure.kind = EvalFigure::kBias, figure.set = line.text("set"), figure.group = line.text("category");
    figure.convention = line.text("convention"), figure.metric = line.text("metric");
    figure.n = line.count("n"), figure.value = line.number("value"), figure.chance = kNan;
  } else {
    line.refuse("schema", "troupe.eval.tasks/1, troupe.eval.ppl/1 or troupe.eval.bias/1", schema);
  }
  return figure;
}

}  // namespace

std::string EvaluatedModel::family() const { return experts == 0 ? "dense" : fmt::format("MoE, {} experts", experts); }

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
    const Line line(object, place);
    if (line.text("schema") == "troupe.eval.tasks.average/1") continue;
    EvalFigure figure = figure_of(line);
    figure.model = index_of(model_of(line, name), place, results.models);
    if (!results.index.try_emplace({figure.model, figure.key()}, results.figures.size()).second)
      fail(ErrorCode::kData, "{}: expected a figure once for each model, got {}{} {} with {} shots of {} again", place,
           figure.set, figure.group.empty() ? "" : " " + figure.group, figure.metric, figure.shots,
           results.models[figure.model].name);
    results.figures.push_back(std::move(figure));
  }
}

}  // namespace troupe
