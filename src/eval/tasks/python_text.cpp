#include "eval/tasks/python_text.h"

#include <algorithm>

#include "base/utf8.h"
#include "data/tokenizer/white_space.h"

namespace troupe::python {

bool is_space(char32_t c) {
  return (c >= 0x1C && c <= 0x1F) || std::any_of(std::begin(kWhiteSpace), std::end(kWhiteSpace), [&](auto range) {
           return c >= range.first && c <= range.last;
         });
}

std::string_view rstrip(std::string_view text) {
  while (!text.empty() && is_space(code_point(last_character(text)))) text.remove_suffix(last_character(text).size());
  return text;
}

std::string_view strip(std::string_view text) {
  text = rstrip(text);
  while (!text.empty() && is_space(code_point(first_character(text)))) text.remove_prefix(first_character(text).size());
  return text;
}

std::vector<std::string> split(std::string_view text) {
  std::vector<std::string> words;
  bool inside = false;
  for (const std::string_view character : characters(text)) {
    const bool space = is_space(code_point(character));
    if (!space && !inside) words.emplace_back();
    if (!space) words.back() += character;
    inside = !space;
  }
  return words;
}

}  // namespace troupe::python
