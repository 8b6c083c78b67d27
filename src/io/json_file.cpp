#include "io/json_file.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>
#include <vector>

#include "base/error.h"
#include "io/atomic_file.h"
#include "io/json_text.h"

namespace troupe {

std::string position_in(std::string_view text, size_t byte) {
  const std::string_view before = text.substr(0, std::min(byte, text.size()));
  if (text.find('\n') == text.npos) return fmt::format("column {}", before.size() + 1);
  const size_t line_start = before.rfind('\n') == before.npos ? 0 : before.rfind('\n') + 1;
  return fmt::format("line {}, column {}", 1 + std::count(before.begin(), before.end(), '\n'),
                     before.size() - line_start + 1);
}

nlohmann::json parse_json(std::string_view text, const std::string& where) {
  using nlohmann::json;
  constexpr size_t kMaxDepth = 256;
  std::vector<std::set<std::string, std::less<>>> keys;  // of the objects that are open; arrays hold an empty set
  const auto check = [&](int, json::parse_event_t event, json& parsed) {
    switch (event) {
      case json::parse_event_t::object_start:
      case json::parse_event_t::array_start:
        keys.emplace_back();
        if (keys.size() > kMaxDepth)
          fail(ErrorCode::kData, "{}: expected at most {} levels of nesting", where, kMaxDepth);
        break;
      case json::parse_event_t::object_end:
      case json::parse_event_t::array_end:
        keys.pop_back();
        break;
      case json::parse_event_t::key: {
        const auto& key = parsed.get_ref<const std::string&>();
        if (!keys.back().insert(key).second)
          fail(ErrorCode::kData, "{}: {}: expected each key once, got it twice", where, key);
        break;
      }
      default:
        break;
    }
    return true;
  };
  try {
    return json::parse(text, check);
  } catch (const json::parse_error& error) {
    // what() is "[json.exception.parse_error.101] parse error at line 1, column 2: syntax error while ...: reason"
    std::string reason = error.what();
    if (const size_t colon = reason.find(": "); colon != reason.npos) reason = reason.substr(colon + 2);
    fail(ErrorCode::kData, "{}: {}: expected JSON, got: {}", where, position_in(text, error.byte ? error.byte - 1 : 0),
         reason);
  } catch (const json::exception& error) {
    fail(ErrorCode::kData, "{}: expected JSON, got: {}", where, error.what());
  }
}

nlohmann::json read_json_file(const std::filesystem::path& path) { return parse_json(read_file(path), path.string()); }

void write_json_file(const std::filesystem::path& path, const nlohmann::ordered_json& value) {
  write_file_atomically(path, json_file_text(value));
}

void write_json_file(const std::filesystem::path& path, const nlohmann::json& value) {
  write_file_atomically(path, json_file_text(value));
}

}  // namespace troupe
