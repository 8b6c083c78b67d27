#include "data/corpus/parsers/dictd.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "base/error.h"
#include "data/corpus/parsers/lines.h"

namespace troupe::corpus {
namespace {

std::optional<uint64_t> base64_number(std::string_view digits) {
  constexpr std::string_view kAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  if (digits.empty() || digits.size() > 8) return std::nullopt;
  uint64_t value = 0;
  for (const char c : digits) {
    const size_t digit = kAlphabet.find(c);
    if (digit == std::string_view::npos) return std::nullopt;
    value = value << 6 | digit;
  }
  return value;
}

}  // namespace

std::string without_gcide_marks(std::string_view entry) {
  std::string text;
  for_each_line(entry, [&](std::string_view line) {
    const std::string_view content = trim(line);
    if (content.starts_with('[') && content.find(']') == content.size() - 1 &&
        (content.find("Webster") != content.npos || content.find("WordNet") != content.npos || content == "[PJC]"))
      return;
    std::string words(line);
    for (size_t open; (open = words.find(" \\")) != words.npos;) {
      const size_t close = words.find('\\', open + 2);
      if (close == words.npos) break;
      words.erase(open, close + 1 - open);
    }
    text.append(words) += '\n';
  });
  return text;
}

void parse_dictd(std::string_view index, std::string_view text, const Emit& emit) {
  std::vector<std::pair<uint64_t, uint64_t>> entries;
  int64_t number = 0;
  for_each_line(index, [&](std::string_view line) {
    ++number;
    if (is_blank(line)) return;
    const size_t first = line.find('\t');
    const size_t second = first == std::string_view::npos ? first : line.find('\t', first + 1);
    if (second == std::string_view::npos)
      fail(ErrorCode::kData, "line {}: expected word TAB offset TAB length, got {} characters without two tabs", number,
           line.size());
    const auto offset = base64_number(line.substr(first + 1, second - first - 1));
    const size_t third = line.find('\t', second + 1);  // some dictionaries add a fourth column
    const auto length =
        base64_number(line.substr(second + 1, third == std::string_view::npos ? third : third - second - 1));
    if (!offset || !length) fail(ErrorCode::kData, "line {}: expected offset and length in base 64", number);
    if (*offset > text.size() || *length > text.size() - *offset)
      fail(ErrorCode::kData, "line {}: expected an entry inside the {} bytes of text, got offset {} and length {}",
           number, text.size(), *offset, *length);
    if (line.starts_with("00-") || line.starts_with("00database")) return;
    entries.emplace_back(*offset, *length);
  });
  std::sort(entries.begin(), entries.end());
  entries.erase(std::unique(entries.begin(), entries.end()), entries.end());
  for (const auto& [offset, length] : entries) {
    std::string entry(text.substr(offset, length));
    std::erase_if(entry, [](char c) { return c == '{' || c == '}'; });
    for (size_t at; (at = entry.find("%%%")) != std::string::npos;) entry.replace(at, 3, "; ");  // several headwords
    emit(std::move(entry));
  }
}

}  // namespace troupe::corpus
