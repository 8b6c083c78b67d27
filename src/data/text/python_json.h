// What Python's json writes although JSON does not have it: NaN and Infinity, numbers beyond 64 bits, and half of a
// UTF-16 surrogate pair in a string. A line with such a value in a field that nobody asked for is still readable.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace troupe {

struct PlainJson {
  struct LoneSurrogate {
    std::string path;    // keys joined by '.' of the string that holds it; "" if it is itself a key
    std::string escape;  // as written: \ud83d
    size_t byte = 0;     // of the line, from 0
  };
  std::string text;  // as long as the line: such numbers are 0, such surrogates \ufffd
  std::vector<LoneSurrogate> lone_surrogates;
  bool changed = false;
};

// Any bytes may come in; what is neither JSON nor of these kinds stays as it is.
PlainJson plain_json(std::string_view line);

}  // namespace troupe
