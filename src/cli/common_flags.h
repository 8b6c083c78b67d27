// The flags that every command has: --color, --quiet, --threads and --device.
#pragma once

namespace CLI {
class App;
}

namespace troupe::cli {

// Adds them to the command and all below it; they act as they are parsed.
void add_common_flags(CLI::App& command);

}  // namespace troupe::cli
