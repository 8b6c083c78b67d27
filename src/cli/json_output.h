// One JSON object a line on stdout: what --json means everywhere. Each object names its schema, e.g. "troupe.eval/1".
#pragma once

#include <nlohmann/json_fwd.hpp>

namespace troupe::cli {

// Invalid UTF-8 is replaced by U+FFFD; a value that is not finite becomes null. Throws kEnvironment if stdout fails.
void print_json(const nlohmann::ordered_json& object);

}  // namespace troupe::cli
