// Text of any bytes as maximal runs that are well-formed UTF-8 and runs that are not.
#pragma once

#include <string_view>

#include "base/utf8.h"

namespace troupe {

// Calls valid(run) and invalid(run) in the order of the text; no run is empty.
template <class Valid, class Invalid>
void for_each_utf8_run(std::string_view text, const Valid& valid, const Invalid& invalid) {
  size_t begin = 0, at = find_invalid_utf8(text).value_or(text.size());
  while (at < text.size()) {
    if (at > begin) valid(text.substr(begin, at - begin));
    for (begin = at; at < text.size() && utf8_sequence_bytes(text.substr(at)) == 0;) ++at;
    invalid(text.substr(begin, at - begin));
    begin = at;
    while (at < text.size()) {
      const size_t bytes = utf8_sequence_bytes(text.substr(at));
      if (bytes == 0) break;
      at += bytes;
    }
  }
  if (begin < text.size()) valid(text.substr(begin));
}

}  // namespace troupe
