#include "cli/text_options.h"

#include <CLI/CLI.hpp>

#include "cli/choice.h"
#include "cli/validators.h"

namespace troupe::cli {

void add_text_options(CLI::App& command, TextOptions& options) {
  command.add_option("--field", options.field, "JSON lines: key of the text; a.b reaches into objects")
      ->type_name("KEY")
      ->group("Text");
  add_choice(command, "--split", options.split, "plain text: a document ends at a blank line, or with its file")
      ->group("Text");
  add_choice(command, "--on-bad", options.on_bad, "damaged documents: stop at the first, or count them and go on")
      ->group("Text");
  command.add_option("--max-document-bytes", options.max_document_bytes, "longer documents and lines count as damaged")
      ->transform(positive_count(int64_t{1} << 40))
      ->type_name("BYTES")
      ->group("Text");
  add_choice(command, "--stdin-format", options.stdin_format, "what the input - is")->group("Text");
}

}  // namespace troupe::cli
