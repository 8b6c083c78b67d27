#include "cli/text_options.h"

#include <CLI/CLI.hpp>
#include <map>

namespace troupe::cli {

void add_text_options(CLI::App& command, TextOptions& options) {
  const auto choice = [&](const char* flag, auto& value, auto names, const char* help) {
    command.add_option(flag, value, help)->transform(CLI::CheckedTransformer(names).description(""))->group("Text");
  };
  command.add_option("--field", options.field, "JSON lines: key of the text; a.b reaches into objects")->group("Text");
  choice("--split", options.split,
         std::map<std::string, Split>{{"blank-line", Split::kBlankLine}, {"file", Split::kFile}},
         "plain text: documents end at a blank line (blank-line) or with the file (file)");
  choice("--on-bad", options.on_bad, std::map<std::string, OnBad>{{"stop", OnBad::kStop}, {"skip", OnBad::kSkip}},
         "damaged documents: stop at the first, or skip: count them and go on");
  command.add_option("--max-document-bytes", options.max_document_bytes, "longer documents and lines count as damaged")
      ->group("Text")
      ->transform(CLI::AsSizeValue(false));
  choice("--stdin-format", options.stdin_format,
         std::map<std::string, TextFormat>{{"text", TextFormat::kText}, {"jsonl", TextFormat::kJsonl}},
         "what the input - is");
}

}  // namespace troupe::cli
