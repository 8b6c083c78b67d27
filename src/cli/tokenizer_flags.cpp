#include "cli/tokenizer_flags.h"

#include <CLI/CLI.hpp>

namespace troupe::cli {

void add_tokenizer_flags(CLI::App& command, TokenizerChoice& choice) {
  command
      .add_option("--tokenizer", choice.path,
                  "tokenizer.json, tokenizer.model or a folder with one (default: the model directory)")
      ->type_name("PATH");
  command.add_flag("--any-tokenizer", choice.any,
                   "take a tokenizer, or data written with one, that is not the model's: ids mean other tokens");
}

}  // namespace troupe::cli
