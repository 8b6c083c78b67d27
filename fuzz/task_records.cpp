// Evaluation data of any format: any bytes give records or one kData error. The first byte picks the format.
#include <cstdint>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <string_view>

#include "eval/tasks/records.h"
#include "troupe/error.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace troupe;
  if (size == 0) return 0;
  const RecordOptions options[] = {{.format = RecordFormat::kJsonl},
                                   {.format = RecordFormat::kJsonl, .expand = {"a", "a.b"}},
                                   {.format = RecordFormat::kJson, .each = "a.b"},
                                   {.format = RecordFormat::kCsv},
                                   {.format = RecordFormat::kTsv},
                                   {.format = RecordFormat::kCopaXml}};
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  try {
    std::vector<Record> records = parse_records(text, "fuzz", options[data[0] % std::size(options)]);
    for (const Record& record : records)
      if (!record.value->is_object()) std::abort();
    add_labels(text, "labels", records);
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kData) std::abort();
  }
  return 0;
}
