// Any bytes as a file of a package, by the parser that the first byte names; other files are what follows a NUL.
#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/utf8.h"
#include "data/corpus/parsers/parser.h"
#include "data/corpus/rules.h"
#include "troupe/error.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace troupe::corpus;
  if (size == 0) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  const NamedParser& parser = parsers()[data[0] % parsers().size()];
  if (parser.name == "man") return 0;  // runs a program
  const size_t cut = std::min(bytes.find(char{0}), bytes.size());
  const PackageFile file{.path = "usr/share/name.bzv",
                         .bytes = std::string(bytes.substr(0, cut)),
                         .read = [&](const std::string&) { return std::string(bytes.substr(cut)); }};
  try {
    parser.parser(file, [](const std::string& text) {
      if (troupe::find_invalid_utf8(clean_text(text))) __builtin_trap();
    });
  } catch (const troupe::Error&) {
  }
  return 0;
}
