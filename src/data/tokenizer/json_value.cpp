#include "data/tokenizer/json_value.h"

#include <nlohmann/json.hpp>

#include "io/json_file.h"

namespace troupe {

void JsonValue::fail_at_json_error(std::string_view text, const std::string& where, const char* reason) {
  try {
    [[maybe_unused]] const auto value = nlohmann::json::parse(text);
  } catch (const nlohmann::json::parse_error& error) {
    const size_t byte = error.byte > 0 ? error.byte - 1 : 0;
    fail(ErrorCode::kData, "{}: {} (byte {}): expected JSON, got: {}", where, position_in(text, byte), byte, reason);
  } catch (const nlohmann::json::exception&) {  // a number beyond what a double holds, which has no place
  }
  fail(ErrorCode::kData, "{}: expected JSON, got: {}", where, reason);
}

}  // namespace troupe
