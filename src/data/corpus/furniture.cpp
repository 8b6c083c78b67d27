#include "data/corpus/furniture.h"

#include <algorithm>
#include <unordered_map>
#include <unordered_set>

#include "data/corpus/parsers/lines.h"
#include "data/corpus/rules.h"

namespace troupe::corpus {
namespace {

constexpr size_t kHeadLines = 100, kTailLines = 30, kFewestPages = 10;

// Calls body(line, at_edge) for every line of a page.
template <class Body>
void for_each_line_of_page(const std::string& page, const Body& body) {
  size_t total = 0, index = 0;
  for_each_line(page, [&](std::string_view line) { total += !is_blank(line); });
  for_each_line(page, [&](std::string_view line) {
    if (is_blank(line)) return body(line, false);
    body(line, index < kHeadLines || index + kTailLines >= total);
    ++index;
  });
}

}  // namespace

void drop_furniture(const std::vector<std::string*>& pages) {
  if (pages.size() < kFewestPages) return;
  std::unordered_map<std::string, size_t> pages_with;
  for (const std::string* page : pages) {
    std::unordered_set<std::string> lines;
    for_each_line_of_page(*page, [&](std::string_view line, bool at_edge) {
      if (at_edge) lines.emplace(trim(line));
    });
    for (const std::string& line : lines) ++pages_with[line];
  }
  for (std::string* page : pages) {
    std::string text;
    for_each_line_of_page(*page, [&](std::string_view line, bool at_edge) {
      if (!at_edge || 2 * pages_with[std::string(trim(line))] < pages.size()) text.append(line) += '\n';
    });
    *page = clean_text(text);
  }
}

}  // namespace troupe::corpus
