#include "io/folder_name.h"

#include <algorithm>

#include "base/error.h"
#include "base/utf8.h"

namespace troupe {

void check_folder_name(std::string_view name, ErrorCode code, std::string_view where) {
  constexpr size_t kLongest = 200;  // file systems take 255, and temporary names are longer
  const auto forbidden = [](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return byte < 0x20 || byte == 0x7f || c == '/' || c == '=';
  };
  if (!name.empty() && name.size() <= kLongest && name != "." && name != ".." && name.front() != ' ' &&
      name.back() != ' ' && !find_invalid_utf8(name) && std::none_of(name.begin(), name.end(), forbidden))
    return;
  fail(code,
       "{}: expected a name that a folder can have (UTF-8, at most {} bytes, no \"/\", \"=\" or control character, no "
       "space at either end), got \"{}\"",
       where, kLongest, name);
}

}  // namespace troupe
