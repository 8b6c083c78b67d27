#include "data/corpus/parsers/wordnet.h"

#include <algorithm>
#include <charconv>

#include "base/error.h"
#include "data/corpus/parsers/lines.h"

namespace troupe::corpus {
namespace {

std::string_view part_of_speech(std::string_view letter) {
  return letter == "n" ? "noun" : letter == "v" ? "verb" : letter == "r" ? "adverb" : "adjective";
}

// "galore(ip)" says where an adjective stands.
std::string plain_word(std::string_view word) {
  std::string plain(word.substr(0, word.find('(')));
  std::replace(plain.begin(), plain.end(), '_', ' ');
  return plain;
}

}  // namespace

void parse_wordnet(std::string_view data, const Emit& emit) {
  int64_t number = 0;
  for_each_line(data, [&](std::string_view line) {
    ++number;
    if (line.starts_with("  ") || is_blank(line)) return;  // the licence
    const auto next = [&] {
      const std::string_view word = line.substr(0, line.find(' '));
      line.remove_prefix(std::min(line.size(), word.size() + 1));
      return word;
    };
    next(), next();
    const std::string_view kind = next(), digits = next();
    unsigned count = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), count, 16);
    const size_t bar = line.find(" | ");
    if (error != std::errc() || end != digits.data() + digits.size() || count == 0 || bar == line.npos)
      fail(ErrorCode::kData, "line {}: expected a count of words in hexadecimal and a gloss after \" | \"", number);
    const std::string_view gloss = trim(line.substr(bar + 3));
    std::string text;
    for (unsigned i = 0; i < count; ++i) {
      if (i > 0) text += ", ";
      text += plain_word(next());
      next();
    }
    emit(text.append(" (").append(part_of_speech(kind)).append("): ").append(gloss));
  });
}

}  // namespace troupe::corpus
