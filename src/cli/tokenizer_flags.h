// Flags for the tokenizer of a model, the same in every command that takes one.
#pragma once

#include "data/shards/model_tokenizer.h"

namespace CLI {
class App;
}

namespace troupe::cli {

// Adds --tokenizer and --any-tokenizer; `choice` must outlive the parse.
void add_tokenizer_flags(CLI::App& command, TokenizerChoice& choice);

}  // namespace troupe::cli
