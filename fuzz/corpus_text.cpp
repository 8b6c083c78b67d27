// Any bytes as HTML, Markdown and records, and cleaned as the corpus does.
#include <cstdint>
#include <string>
#include <string_view>

#include "base/utf8.h"
#include "data/corpus/parsers/html.h"
#include "data/corpus/parsers/sections.h"
#include "data/corpus/rules.h"
#include "troupe/error.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  using namespace troupe::corpus;
  const auto check = [](const std::string& text) {
    if (troupe::find_invalid_utf8(clean_text(text))) __builtin_trap();
  };
  check(html_to_text(bytes));
  check(markdown_to_text(bytes));
  split_records(bytes, "%", char{0}, check);
  for (const auto heading : {is_chapter_heading, is_numbered_heading, is_release_heading})
    split_at_headings(bytes, heading, check);
  return 0;
}
