#include "cli/text_options.h"

#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <string>
#include <utility>
#include <vector>

#include "base/nearest.h"
#include "cli/validators.h"

namespace troupe::cli {

void add_text_options(CLI::App& command, TextOptions& options) {
  // The first name is the default.
  const auto choice = [&](const char* flag, auto& value, const auto& names, const char* help) {
    std::string list;
    std::vector<std::string> known;
    for (const auto& row : names) {
      (list += list.empty() ? "" : "|") += row.first;
      known.emplace_back(row.first);
    }
    const auto set = [&value, names, known, list](const std::string& word) {
      for (const auto& row : names) {
        if (word != row.first) continue;
        value = row.second;
        return;
      }
      throw CLI::ValidationError(
          fmt::format("expected {}, got {} (did you mean {}?)", list, word, nearest(word, known)));
    };
    command.add_option_function<std::string>(flag, set, help)
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
      ->transform(positive_count(int64_t{1} << 40))
      ->type_name("BYTES")
      ->group("Text");
  choice("--stdin-format", options.stdin_format,
         vector<pair<const char*, TextFormat>>{{"text", TextFormat::kText}, {"jsonl", TextFormat::kJsonl}},
         "what the input - is");
}

}  // namespace troupe::cli
