#include "study/metrics_history.h"

#include "io/atomic_file.h"
#include "io/json_fields.h"
#include "io/json_file.h"

namespace troupe {

double MetricsHistory::tokens_at(int64_t step) const {
  double last_step = 0, last_tokens = 0;
  for (const StepLine& line : train) {
    const auto next_step = static_cast<double>(line.step), next_tokens = static_cast<double>(line.tokens);
    if (line.step >= step && next_step > last_step)
      return last_tokens +
             (next_tokens - last_tokens) * (static_cast<double>(step) - last_step) / (next_step - last_step);
    last_step = next_step, last_tokens = next_tokens;
  }
  return last_tokens;
}

MetricsHistory parse_metrics(std::string_view text, const std::string& where) {
  MetricsHistory history;
  int64_t number = 0;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = text.find('\n', begin);
    if (end == text.npos) break;  // a half line
    const std::string at = fmt::format("{}:{}", where, ++number);
    const nlohmann::json object = parse_json(text.substr(begin, end - begin), at);
    begin = end + 1;
    const std::string schema = schema_of(object, at);
    if (schema == StepLine::kSchema)
      read_json_fields(object, at, history.train.emplace_back());
    else if (schema == ValidLine::kSchema)
      read_json_fields(object, at, history.valid.emplace_back());
  }
  return history;
}

MetricsHistory read_metrics(const std::filesystem::path& path) { return parse_metrics(read_file(path), path.string()); }

}  // namespace troupe
