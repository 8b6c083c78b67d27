#include "cli/text_options.h"

#include <CLI/CLI.hpp>
#include <map>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace troupe::cli {

void add_text_options(CLI::App& command, TextOptions& options) {
  // The first name is the default.
  const auto choice = [&](const char* flag, auto& value, const auto& names, const char* help) {
    std::map<std::string, std::decay_t<decltype(value)>> values;
    std::string list;
    for (const auto& [name, meaning] : names) {
      values[name] = meaning;
      (list += list.empty() ? "" : "|") += name;
    }
    command.add_option(flag, value, help)
        ->transform(CLI::CheckedTransformer(values).description(""))
        ->type_name(list)
        ->default_str(names.front().first)
        ->group("Text");
  };
  using std::pair;
  using std::vector;
  command.add_option("--field", options.field, "JSON lines: key of the text; a.b reaches into objects")->group("Text");
  choice("--split", options.split,
         vector<pair<const char*, Split>>{{"blank-line", Split::kBlankLine}, {"file", Split::kFile}},
         "plain text: a document ends at a blank line, or with its file");
  choice("--on-bad", options.on_bad, vector<pair<const char*, OnBad>>{{"stop", OnBad::kStop}, {"skip", OnBad::kSkip}},
         "damaged documents: stop at the first, or count them and go on");
  command.add_option("--max-document-bytes", options.max_document_bytes, "longer documents and lines count as damaged")
      ->type_name("BYTES")
      ->group("Text");
  choice("--stdin-format", options.stdin_format,
         vector<pair<const char*, TextFormat>>{{"text", TextFormat::kText}, {"jsonl", TextFormat::kJsonl}},
         "what the input - is");
}

}  // namespace troupe::cli
