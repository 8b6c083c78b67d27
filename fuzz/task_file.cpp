// A task file: any bytes give a task or one kUsage error.
#include "eval/tasks/task_file.h"

#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "troupe/error.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace troupe;
  try {
    parse_task_file({reinterpret_cast<const char*>(data), size}, "fuzz.toml");
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kUsage) std::abort();
  }
  return 0;
}
