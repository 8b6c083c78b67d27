#include "io/named_path.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/utf8.h"
#include "io/json_text.h"

namespace troupe {

namespace fs = std::filesystem;
namespace {

// Without a "/" at the end, and "." is called what its folder is.
fs::path full_path(const std::string& text) {
  const fs::path path = fs::absolute(text).lexically_normal();
  return path.has_filename() ? path : path.parent_path();
}

// "a/valid" are the last 2 parts of /data/a/valid; "" if it has fewer.
std::string last_parts(const fs::path& path, size_t count) {
  fs::path end;
  fs::path rest = path;
  for (; count > 0 && rest.has_relative_path(); --count, rest = rest.parent_path())
    end = end.empty() ? rest.filename() : rest.filename() / end;
  return count > 0 ? "" : end.string();
}

// A name is shown in tables and pages and written to JSON, where what is no text would look like another name.
void check_name(const std::string& name, const std::string& where) {
  const bool has_control = std::any_of(name.begin(), name.end(), [](unsigned char c) { return c < 0x20 || c == 0x7F; });
  if (has_control || find_invalid_utf8(name) || name.find_first_not_of(' ') == name.npos)
    fail(ErrorCode::kUsage, "{}: expected a NAME of visible text (UTF-8), got {}", where,
         json_excerpt(nlohmann::json(name)));
}

}  // namespace

NamedPath parse_named_path(const std::string& text, const std::string& where, const PathExists& exists) {
  const size_t equals = text.find('=');
  if (equals != text.npos && text.find('/') > equals && !exists(text)) {
    const NamedPath named{.name = text.substr(0, equals), .path = text.substr(equals + 1), .given = true};
    if (!named.name.empty() && !named.path.empty()) {
      check_name(named.name, where);
      return named;
    }
    fail(ErrorCode::kUsage, "{}: expected NAME=PATH or PATH, got \"{}\"", where, text);
  }
  if (text.empty()) fail(ErrorCode::kUsage, "{}: expected NAME=PATH or PATH, got \"\"", where);
  return {.name = full_path(text).filename().string(), .path = text};
}

NamedPath parse_named_path(const std::string& text, const std::string& where, const fs::path& base) {
  return parse_named_path(text, where, [&](const std::string& path) {
    std::error_code error;
    return fs::exists(base / path, error);
  });
}

std::vector<NamedPath> parse_named_paths(const std::vector<std::string>& texts, const std::string& where) {
  std::vector<NamedPath> all;
  for (const std::string& text : texts) all.push_back(parse_named_path(text, where));
  const std::vector<NamedPath> plain = all;
  std::map<std::string, size_t> uses;
  for (size_t parts = 2;; ++parts) {
    uses.clear();
    for (const NamedPath& one : all) ++uses[one.name];
    if (uses.size() == all.size()) return all;
    bool longer = false;
    for (size_t i = 0; i < all.size(); ++i) {
      if (all[i].given || uses[all[i].name] == 1) continue;
      const std::string name = last_parts(full_path(all[i].path), parts);
      if (name.empty()) continue;
      all[i].name = name;
      longer = true;
    }
    if (longer) continue;
    const auto same = std::find_if(all.begin(), all.end(), [&](const NamedPath& one) { return uses[one.name] > 1; });
    fail(ErrorCode::kUsage, "{}: expected each name once, got {} twice (write NAME=PATH)", where,
         plain[static_cast<size_t>(same - all.begin())].name);
  }
}

}  // namespace troupe
