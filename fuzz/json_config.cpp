// `config.json` of a model directory: any bytes give values within their ranges or one kData error.
#include "io/json_config.h"

#include <cstdint>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <string_view>

#include "io/json_file.h"
#include "troupe/config.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace troupe;
  ModelConfig config;
  FieldList fields = fields_of(config);
  try {
    from_json(parse_json({reinterpret_cast<const char*>(data), size}, "config.json"), "config.json", fields);
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kData) std::abort();
    return 0;
  }
  ModelConfig again;
  FieldList fields_again = fields_of(again);
  from_json(parse_json(to_json(fields).dump(), "again.json"), "again.json", fields_again);
  if (!differences(fields, fields_again, "first", "again").empty()) std::abort();
  return 0;
}
