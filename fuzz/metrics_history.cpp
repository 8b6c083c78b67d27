// metrics.jsonl of a run: any bytes give points or one kData error.
#include "study/metrics_history.h"

#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "troupe/error.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    const troupe::MetricsHistory history =
        troupe::parse_metrics({reinterpret_cast<const char*>(data), size}, "metrics.jsonl");
    history.tokens_at(100);
  } catch (const troupe::Error& error) {
    if (error.code() != troupe::ErrorCode::kData) std::abort();
  }
  return 0;
}
