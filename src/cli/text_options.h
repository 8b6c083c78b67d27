// Flags for reading users' own text, the same in every command that takes it.
#pragma once

#include "data/text/reader.h"

namespace CLI {
class App;
}

namespace troupe::cli {

// Adds --field, --split, --on-bad, --max-document-bytes and --stdin-format; `options` must outlive the parse.
void add_text_options(CLI::App& command, TextOptions& options);

}  // namespace troupe::cli
