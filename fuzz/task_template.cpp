// A template over a fixed record: any bytes give a value, a kUsage error (grammar) or a kData error (record).
#include <cstdint>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <string_view>

#include "base/utf8.h"
#include "eval/tasks/template.h"
#include "troupe/error.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace troupe;
  static const nlohmann::json record = nlohmann::json::parse(
      R"({"a": "é b_c", "n": 2, "l": ["x", "y"], "o": {"p": [{"start": 0, "end": 1}]}, "t": true, "z": null})");
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  if (find_invalid_utf8(text)) return 0;  // files are checked before
  try {
    Template(text, "fuzz").value(record);
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kUsage && error.code() != ErrorCode::kData) std::abort();
  }
  return 0;
}
