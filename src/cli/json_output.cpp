#include "cli/json_output.h"

#include <cstdio>
#include <nlohmann/json.hpp>

#include "base/error.h"

namespace troupe::cli {

void print_json(const nlohmann::ordered_json& object) {
  const std::string line = object.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
  if (std::fwrite(line.data(), 1, line.size(), stdout) != line.size() || std::fflush(stdout) != 0)
    fail(ErrorCode::kEnvironment, "standard output: expected to write {} bytes, got an error", line.size());
}

}  // namespace troupe::cli
