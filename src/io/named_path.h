// "NAME=PATH" or "PATH", as flags and configuration files give what gets a name in results.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

namespace troupe {

struct NamedPath {
  std::string name;    // without NAME= the last part of the path
  std::string path;    // as written
  bool given = false;  // whether the name was
};

using PathExists = std::function<bool(const std::string& path)>;

// A "=" may be part of a path (runs/lr=0.1): what exists as it is written is a path, and so is what has a "/" in front
// of its first "="; otherwise that "=" ends the name. NAME=./PATH is therefore never taken for another path.
// Throws kUsage "WHERE: expected NAME=PATH or PATH, got ..." for an empty name or path.
NamedPath parse_named_path(const std::string& text, const std::string& where, const PathExists& exists);
// For paths that start from `base`, if they are relative.
NamedPath parse_named_path(const std::string& text, const std::string& where, const std::filesystem::path& base = {});

// A list of them, each with a name of its own: paths that end alike get as much of the path for a name as tells them
// apart ("a/valid", "b/valid"). Throws kUsage "WHERE: expected each name once, got x twice (write NAME=PATH)" for equal
// names that were given, and for one path twice.
std::vector<NamedPath> parse_named_paths(const std::vector<std::string>& texts, const std::string& where);

}  // namespace troupe
