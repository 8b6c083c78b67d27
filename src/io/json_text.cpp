#include "io/json_text.h"

#include <limits>
#include <nlohmann/json.hpp>

#include "base/utf8.h"

namespace troupe {
namespace {

constexpr int kOneLine = -1, kIndent = 1;

template <class Json>
std::string dumped(const Json& value, int indent) {
  return value.dump(indent, ' ', false, Json::error_handler_t::replace);
}

template <class Json>
std::string excerpt_of(const Json& value) {
  constexpr size_t kLongest = 60;
  const std::string text = dumped(value, kOneLine);
  if (text.size() <= kLongest) return text;
  size_t end = 0;  // the last place between two characters
  for (size_t next = 0; next <= kLongest; next += utf8_sequence_bytes(std::string_view(text).substr(next))) end = next;
  return text.substr(0, end) + "...";
}

}  // namespace

std::string json_text(const nlohmann::json& value) { return dumped(value, kOneLine); }
std::string json_text(const nlohmann::ordered_json& value) { return dumped(value, kOneLine); }

std::string json_file_text(const nlohmann::json& value) { return dumped(value, kIndent) + "\n"; }
std::string json_file_text(const nlohmann::ordered_json& value) { return dumped(value, kIndent) + "\n"; }

std::string json_excerpt(const nlohmann::json& value) { return excerpt_of(value); }
std::string json_excerpt(const nlohmann::ordered_json& value) { return excerpt_of(value); }

double number_or_nan(const nlohmann::json& value) {
  return value.is_null() ? std::numeric_limits<double>::quiet_NaN() : value.get<double>();
}

}  // namespace troupe
