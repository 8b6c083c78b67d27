// Results of evaluations as JSON lines: any bytes give figures or one kData error.
#include "study/eval_results.h"

#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "troupe/error.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    troupe::EvalResults results;
    troupe::read_eval_results({reinterpret_cast<const char*>(data), size}, "fuzz", "", results);
    for (const troupe::EvalFigure& figure : results.figures)
      if (!results.find(figure.model, figure.key())) std::abort();
  } catch (const troupe::Error& error) {
    if (error.code() != troupe::ErrorCode::kData) std::abort();
  }
  return 0;
}
