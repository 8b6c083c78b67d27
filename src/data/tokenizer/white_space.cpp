#include "data/tokenizer/white_space.h"

#include <algorithm>

#include "base/utf8.h"

namespace troupe {
namespace {

bool is_white_space(std::string_view character) {
  const char32_t code = code_point(character);
  return std::any_of(std::begin(kWhiteSpace), std::end(kWhiteSpace),
                     [&](CodePointRange range) { return code >= range.first && code <= range.last; });
}

}  // namespace

size_t leading_white_space(std::string_view text) {
  size_t bytes = 0;
  while (bytes < text.size() && is_white_space(first_character(text.substr(bytes))))
    bytes += first_character(text.substr(bytes)).size();
  return bytes;
}

size_t trailing_white_space(std::string_view text) {
  size_t bytes = 0;
  while (bytes < text.size() && is_white_space(last_character(text.substr(0, text.size() - bytes))))
    bytes += last_character(text.substr(0, text.size() - bytes)).size();
  return bytes;
}

}  // namespace troupe
