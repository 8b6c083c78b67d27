#include "study/metrics_history.h"

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "io/atomic_file.h"
#include "io/json_file.h"
#include "io/json_text.h"

namespace troupe {
namespace {

using nlohmann::json;

// One object of a line, with the place for messages.
struct Reader {
  const json& object;
  const std::string& where;

  const json& at(const char* key) const {
    const auto found = object.find(key);
    if (found == object.end()) fail(ErrorCode::kData, "{}: {}: expected a value, got no such key", where, key);
    return *found;
  }
  double number(const char* key) const { return number(at(key), key); }
  double number(const json& value, const char* key) const {
    if (!value.is_null() && !value.is_number())
      fail(ErrorCode::kData, "{}: {}: expected a number, got {}", where, key, text(value));
    return number_or_nan(value);
  }
  int64_t integer(const char* key) const {
    const json& value = at(key);
    if (!value.is_number_integer())
      fail(ErrorCode::kData, "{}: {}: expected a whole number, got {}", where, key, text(value));
    return value.get<int64_t>();
  }
  const json& array(const char* key) const {
    const json& value = at(key);
    if (!value.is_array()) fail(ErrorCode::kData, "{}: {}: expected a list, got {}", where, key, text(value));
    return value;
  }
  static std::string text(const json& value) { return json_excerpt(value); }
};

RouterPoint router_point(const json& object, const std::string& where) {
  if (!object.is_object()) fail(ErrorCode::kData, "{}: moe: expected objects, got {}", where, Reader::text(object));
  const Reader in{object, where};
  RouterPoint point{.layer = in.integer("layer"),
                    .load_E = {},
                    .entropy = in.number("entropy"),
                    .overflow1 = in.number("overflow1"),
                    .overflow2 = in.number("overflow2"),
                    .unused_experts = in.number("unused_experts"),
                    .top20 = in.number("top20"),
                    .bottom20 = in.number("bottom20")};
  for (const json& share : in.array("load")) point.load_E.push_back(in.number(share, "load"));
  return point;
}

TrainPoint train_point(const Reader& in) {
  TrainPoint point{.step = in.integer("step"),
                   .tokens = in.number("tokens"),
                   .loss = in.number("loss"),
                   .aux_loss = in.number("aux_loss"),
                   .lr = in.number("lr"),
                   .grad_norm = in.number("grad_norm"),
                   .tokens_per_s = in.number("tokens_per_s"),
                   .mfu = in.number("mfu"),
                   .drop_rate = in.number("drop_rate"),
                   .time_s = in.number("time_s"),
                   .routers = {}};
  for (const json& layer : in.array("moe")) point.routers.push_back(router_point(layer, in.where));
  return point;
}

ValidPoint valid_point(const Reader& in) {
  const json& data = in.at("data");
  if (!data.is_string()) fail(ErrorCode::kData, "{}: data: expected a name, got {}", in.where, Reader::text(data));
  return {.step = in.integer("step"),
          .tokens = in.number("tokens"),
          .data = data.get<std::string>(),
          .nll = in.number("nll"),
          .ppl = in.number("ppl"),
          .bits_per_byte = in.number("bits_per_byte"),
          .drop_rate = in.number("drop_rate")};
}

}  // namespace

double MetricsHistory::tokens_at(int64_t step) const {
  double last_step = 0, last_tokens = 0;
  for (const TrainPoint& point : train) {
    const auto next_step = static_cast<double>(point.step);
    if (point.step >= step && next_step > last_step)
      return last_tokens +
             (point.tokens - last_tokens) * (static_cast<double>(step) - last_step) / (next_step - last_step);
    last_step = next_step, last_tokens = point.tokens;
  }
  return last_tokens;
}

MetricsHistory parse_metrics(std::string_view text, const std::string& where) {
  MetricsHistory history;
  int64_t number = 0;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = text.find('\n', begin);
    if (end == text.npos) break;  // a half line
    const std::string_view line = text.substr(begin, end - begin);
    begin = end + 1;
    const std::string at = fmt::format("{}:{}", where, ++number);
    const json object = parse_json(line, at);
    if (!object.is_object()) fail(ErrorCode::kData, "{}: expected a JSON object, got {}", at, Reader::text(object));
    const Reader in{object, at};
    const json schema = object.value("schema", json());
    if (schema == "troupe.train/1")
      history.train.push_back(train_point(in));
    else if (schema == "troupe.valid/1")
      history.valid.push_back(valid_point(in));
  }
  return history;
}

MetricsHistory read_metrics(const std::filesystem::path& path) { return parse_metrics(read_file(path), path.string()); }

}  // namespace troupe
