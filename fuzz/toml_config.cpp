// A configuration file: any bytes give values within their ranges or one kUsage error; what was read is written and
// read back unchanged.
#include "io/toml_config.h"

#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "troupe/config.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace troupe;
  ModelConfig config;
  FieldList fields = fields_of(config);
  try {
    read_config_text({reinterpret_cast<const char*>(data), size}, "fuzz.toml", "/nonexistent", fields);
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kUsage) std::abort();
    return 0;
  }
  ModelConfig again;
  FieldList fields_again = fields_of(again);
  read_config_text(to_toml(fields), "again.toml", "/nonexistent", fields_again);
  if (!differences(fields, fields_again, "first", "again").empty()) std::abort();
  return 0;
}
