// Any bytes as a configuration file of a model, a run or a study: accepted, then written and read back as the same, or
// refused with a troupe::Error.
#include "io/toml_config.h"

#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "base/error.h"
#include "io/fields.h"
#include "study/study_config.h"
#include "train/run_config.h"
#include "troupe/config.h"

using namespace troupe;

namespace {

template <class Config>
void read(std::string_view text) {
  Config config;
  FieldList fields = fields_of(config);
  try {
    read_config_text(text, "fuzz.toml", "/nonexistent", fields);
    if constexpr (std::is_same_v<Config, StudyFile>)
      check(config.study, "fuzz.toml");
    else
      check_rules(config, "fuzz.toml");
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kUsage) std::abort();
    return;
  }
  if (const Field* tokens = fields.find("study.tokens"); tokens && tokens->origin == "default")
    return;  // must be given
  Config again;
  FieldList fields_again = fields_of(again);
  read_config_text(to_toml(fields), "again.toml", "/nonexistent", fields_again);
  if (!differences(fields, fields_again, "first", "again").empty()) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  read<RunConfig>(text);  // has a model in it
  read<StudyFile>(text);
  return 0;
}
