#include "io/folder_name.h"

#include <algorithm>

#include "base/error.h"
#include "base/unicode.h"
#include "base/utf8.h"

namespace troupe {

void check_folder_name(std::string_view name, ErrorCode code, std::string_view where) {
  constexpr size_t kLongest = 200;  // file systems take 255, and temporary names are longer
  const auto forbidden = [](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return byte < 0x20 || byte == 0x7f || c == '/' || c == '=';
  };
  if (name.find(".tmp-") != name.npos || name == "made-from.json" || name == "manifest.json")
    fail(code,
         "{}: expected a name that no file of the program's own has (\".tmp-\" in it, made-from.json, manifest.json), "
         "got \"{}\"",
         where, name);
  if (!name.empty() && name.size() <= kLongest && name.back() != '.' && name.front() != ' ' && name.back() != ' ' &&
      !find_invalid_utf8(name) && std::none_of(name.begin(), name.end(), forbidden))
    return;
  fail(code,
       "{}: expected a name that a folder can have (UTF-8, at most {} bytes, no \"/\", \"=\" or control character, no "
       "space at either end, no \".\" at the end), got \"{}\"",
       where, kLongest, name);
}

void FolderNames::add(std::string_view name, ErrorCode code, std::string_view where, std::string_view hint) {
  check_folder_name(name, code, where);
  const auto [other, is_new] = names_.try_emplace(unicode::lower(unicode::nfc(name)), name);
  if (is_new) return;
  if (other->second == name) fail(code, "{}: expected each name once, got {} twice ({})", where, name, hint);
  fail(code, "{}: expected names that differ in more than letter case, got {} and {} ({})", where, other->second, name,
       hint);
}

}  // namespace troupe
