// A parser turns one file of a package into documents. It knows bytes, not disks, so that tests and fuzzers can feed
// it. Damaged bytes give Error(kData) saying where in the file; the caller adds the file's name.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <string_view>

namespace troupe::corpus {

struct PackageFile {
  std::string path;  // inside the package; a .gz file is given decompressed and without the ending
  std::string bytes;
  std::function<std::string(const std::string&)> read;  // another file of the package, by its path, decompressed
};

using Emit = std::function<void(std::string text)>;
using Parser = void (*)(const PackageFile&, const Emit&);

struct NamedParser {
  std::string_view name;
  Parser parser;
};
std::span<const NamedParser> parsers();

// The parser of a row in sources.inc; throws Error(kInternal) for a name that is none.
Parser find_parser(std::string_view name);

// Do a package's documents repeat lines around their text, as the pages of a site do (drop_furniture())?
bool has_furniture(std::string_view name);

}  // namespace troupe::corpus
