#include <simdjson.h>

#include "base/error.h"
#include "data/tokenizer/definition.h"
#include "data/tokenizer/json_value.h"
#include "data/tokenizer/vocabulary.h"

namespace troupe {

TokenizerDefinition parse_gpt2_files(std::string_view vocab, const std::string& vocab_where, std::string_view merges,
                                     const std::string& merges_where) {
  TokenizerDefinition definition;
  VocabularyBuilder builder(definition, vocab_where);
  simdjson::dom::parser parser;
  const JsonValue root = JsonValue::parse(parser, vocab, vocab_where);
  root.for_each_field([&](std::string_view name, const JsonValue& id) { builder.add_token(name, id.integer()); });

  int64_t line_number = 0;
  while (!merges.empty()) {
    const size_t end = merges.find('\n');
    std::string_view line = merges.substr(0, end);
    merges.remove_prefix(end == merges.npos ? merges.size() : end + 1);
    ++line_number;
    if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
    if (line_number == 1 && line.substr(0, 8) == "#version") continue;
    if (line.empty() && merges.empty()) break;
    const std::string where = fmt::format("{}:{}", merges_where, line_number);
    const size_t space = line.find(' ');
    if (space == line.npos || line.find(' ', space + 1) != line.npos)
      fail(ErrorCode::kData, "{}: expected two tokens separated by one space, got \"{}\"", where, line);
    builder.add_merge(line.substr(0, space), line.substr(space + 1), where);
  }
  builder.finish();
  return definition;
}

}  // namespace troupe
