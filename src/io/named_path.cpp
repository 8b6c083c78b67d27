#include "io/named_path.h"

#include "base/error.h"

namespace troupe {

namespace fs = std::filesystem;

NamedPath parse_named_path(const std::string& text, const std::string& where, const PathExists& exists) {
  const size_t equals = text.find('=');
  if (equals != text.npos && text.find('/') > equals && !exists(text)) {
    const NamedPath named{.name = text.substr(0, equals), .path = text.substr(equals + 1), .given = true};
    if (!named.name.empty() && !named.path.empty()) return named;
    fail(ErrorCode::kUsage, "{}: expected NAME=PATH or PATH, got \"{}\"", where, text);
  }
  if (text.empty()) fail(ErrorCode::kUsage, "{}: expected NAME=PATH or PATH, got \"\"", where);
  const fs::path path = fs::absolute(text).lexically_normal();  // "." is called what its folder is
  return {.name = (path.has_filename() ? path : path.parent_path()).filename().string(), .path = text};
}

NamedPath parse_named_path(const std::string& text, const std::string& where, const fs::path& base) {
  return parse_named_path(text, where, [&](const std::string& path) {
    std::error_code error;
    return fs::exists(base / path, error);
  });
}

}  // namespace troupe
