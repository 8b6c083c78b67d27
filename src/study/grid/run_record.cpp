#include "study/grid/run_record.h"

#include <fmt/core.h>

#include "io/atomic_file.h"
#include "io/json_fields.h"
#include "io/json_file.h"
#include "io/toml_config.h"
#include "train/run_folder.h"

namespace troupe {

namespace fs = std::filesystem;

std::optional<RunRecord> read_record(const fs::path& run) {
  const fs::path file = run / RunRecord::kFile;
  if (!fs::exists(file)) return std::nullopt;
  RunRecord record;
  read_json_fields(read_json_file(file), file.string(), record);
  return record;
}

void write_record(const fs::path& run, const RunRecord& record) {
  write_json_file(run / RunRecord::kFile, json_of(record));
}

std::vector<std::string> stale_because(const fs::path& run, const RunConfig& config, const std::string& data,
                                       int64_t valid_tokens) {
  const std::optional<RunRecord> record = read_record(run);
  const fs::path written = RunFiles{run}.config();
  if (!record && !fs::exists(written)) return {};
  RunConfig before;
  FieldList fields = fields_of(before);
  read_config_text(record ? record->config : read_file(written), written.string(), run, fields);
  std::vector<std::string> reasons = differences_of_results(fields, fields_of(config), "the run", "the study");
  if (record && record->data != data)
    reasons.push_back(fmt::format("data: {} in the run, {} in the study", record->data, data));
  if (record && record->measured && record->valid_tokens != valid_tokens)
    reasons.push_back(
        fmt::format("study.valid_tokens: {} in the run, {} in the study", record->valid_tokens, valid_tokens));
  return reasons;
}

}  // namespace troupe
