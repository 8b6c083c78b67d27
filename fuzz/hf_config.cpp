// Any bytes as a Hugging Face config.json: a model's facts that its family's row writes and reads again, or refused.
#include <cstdint>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <string_view>

#include "base/error.h"
#include "io/json_file.h"
#include "model/hf/hf_model.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace troupe;
  try {
    HfConfig hf(parse_json({reinterpret_cast<const char*>(data), size}, "config.json"), "config.json");
    hf_facts(hf);
    hf.unknown();
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kData) std::abort();
  }
  return 0;
}
