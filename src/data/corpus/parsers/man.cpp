#include "data/corpus/parsers/man.h"

#include <algorithm>

#include "base/error.h"
#include "base/process.h"
#include "data/corpus/parsers/html.h"
#include "data/corpus/parsers/lines.h"

namespace troupe::corpus {
namespace {

bool is_stub(std::string_view roff) {
  bool source = false, content = false;
  for_each_line(roff, [&](std::string_view line) {
    const bool comment = line.starts_with(".\\\"") || line.starts_with("'\\\"");
    source |= line.starts_with(".so ");
    content |= !is_blank(line) && !comment && !line.starts_with(".so ");
  });
  return source && !content;
}

// In displays mandoc's HTML loses empty lines and breaks before indented ones: both begin with a character of no width.
std::string with_plain_displays(std::string_view roff) {
  std::string page;
  bool display = false;
  for_each_line(roff, [&](std::string_view line) {
    for (const std::string_view request : {"nf", "EX", "fi", "EE"})
      if ((line.starts_with('.') || line.starts_with('\'')) && trim(line.substr(1)).starts_with(request))
        display = request == "nf" || request == "EX";
    if (display && (is_blank(line) || line[0] == ' ' || line[0] == '\t')) page += is_blank(line) ? "\\&\\ " : "\\&";
    (page += line) += '\n';
  });
  return page;
}

// Columns of HTML: without tags, an entity counts as one.
size_t columns_of(std::string_view html) {
  size_t columns = 0;
  for (size_t i = 0; i < html.size(); ++i) {
    if (html[i] == '<') {
      i = std::min(html.find('>', i), html.size());
      continue;
    }
    if (html[i] == '&') i = std::min(html.find(';', i), html.size());
    ++columns;
  }
  return columns;
}

// The title alone of what stands above every page, and nothing of what stands below.
void drop_margins(std::string& html) {
  const auto cut = [&](std::string_view from, std::string_view to) {
    const size_t begin = html.find(from), end = html.find(to, begin);
    if (begin != html.npos && end != html.npos) html.erase(begin, end - begin);
  };
  cut("<td class=\"head-vol\"", "</tr>");
  cut("<table class=\"foot\"", "</table>");
}

// An empty line before every item of a list; bullets, numbers and short options on the line of what they mark.
std::string with_items_as_printed(std::string_view html) {
  constexpr std::string_view kOpen = "<dt", kClose = "</dt>\n", kText = "<dd>";
  constexpr size_t kIndent = 7;
  std::string out;
  for (size_t at; (at = html.find(kOpen)) != html.npos;) {
    const size_t begin = html.find('>', at) + 1, end = html.find(kClose, at);
    if (begin == 0 || end == html.npos || end < begin) break;
    const std::string_view tag = html.substr(begin, end - begin);
    ((out += html.substr(0, at)) += "<p></p><dt>") += tag;
    html.remove_prefix(end);
    const size_t text = html.find_first_not_of(' ', kClose.size());
    if (columns_of(tag) >= kIndent || text == html.npos || !html.substr(text).starts_with(kText)) continue;
    out += ' ';
    html.remove_prefix(text + kText.size());
  }
  return out += html;
}

}  // namespace

std::string man_page_to_text(std::string_view roff) {
  if (is_stub(roff)) return {};
  ProcessResult result = run_program({"mandoc", "-T", "html", "-O", "fragment"}, "/", with_plain_displays(roff));
  if (result.status == 127)
    fail(ErrorCode::kEnvironment, "mandoc: expected this program, got none in PATH (Debian: mandoc)");
  if (result.status != 0) fail(ErrorCode::kData, "expected a page that mandoc reads, got: {}", trim(result.errors));
  drop_margins(result.output);
  std::string text = html_to_text("<body>" + with_items_as_printed(result.output));
  for (size_t at = 0; (at = text.find("\u00a0", at)) != text.npos;) text.replace(at, 2, " ");
  return text;
}

}  // namespace troupe::corpus
