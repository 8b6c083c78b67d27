#include "data/corpus/released/wikitext.h"

#include <libxml/xmlreader.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <exception>
#include <memory>
#include <utility>

#include "base/error.h"
#include "data/corpus/parsers/lines.h"

namespace troupe::corpus {
namespace {

bool starts_with_word(std::string_view text, std::string_view lower) {
  return text.size() >= lower.size() && std::equal(lower.begin(), lower.end(), text.begin(), [](char a, char b) {
           return a == std::tolower(static_cast<unsigned char>(b));
         });
}

// Drops what stands between `open` and `close`, nested ones with what is around them; what is never closed stays.
std::string without_nested(std::string_view text, std::string_view open, std::string_view close) {
  std::string out;
  size_t kept = 0, depth = 0, begin = 0;
  for (size_t i = 0; i < text.size();) {
    if (text.substr(i).starts_with(open)) {
      if (depth++ == 0) begin = i;
      i += open.size();
    } else if (depth > 0 && text.substr(i).starts_with(close)) {
      i += close.size();
      if (--depth > 0) continue;
      out += text.substr(kept, begin - kept);
      kept = i;
    } else {
      ++i;
    }
  }
  return out += text.substr(kept);
}

// Elements that go with their content; of all others the tags go.
constexpr std::array<std::string_view, 10> kDroppedElements = {
    "ref", "gallery", "math", "timeline", "score", "code", "imagemap", "syntaxhighlight", "references", "chem"};

std::string without_elements(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size();) {
    if (text.substr(i).starts_with("<!--")) {
      const size_t end = text.find("-->", i);
      i = end == text.npos ? text.size() : end + 3;
      continue;
    }
    const bool tag = text[i] == '<' && i + 1 < text.size() &&
                     (std::isalpha(static_cast<unsigned char>(text[i + 1])) || text[i + 1] == '/');
    const size_t end = tag ? text.find('>', i) : text.npos;
    if (end == text.npos) {
      out += text[i++];
      continue;
    }
    const std::string_view inner = text.substr(i + 1, end - i - 1);
    const std::string_view name = inner.substr(0, inner.find_first_of(" /\t\n"));
    const bool dropped = !inner.ends_with('/') &&
                         std::any_of(kDroppedElements.begin(), kDroppedElements.end(), [&](std::string_view known) {
                           return name.size() == known.size() && starts_with_word(name, known);
                         });
    i = end + 1;
    if (starts_with_word(name, "br")) out += '\n';
    if (!dropped) continue;
    const size_t close = text.find("</" + std::string(name), i);
    const size_t after = close == text.npos ? close : text.find('>', close);
    if (after != text.npos) i = after + 1;
  }
  return out;
}

// "[[target|shown]]" shows "shown"; files, categories and links to other languages nothing.
std::string link_words(std::string_view link) {
  const size_t colon = link.find(':');
  if (colon != link.npos && colon > 0) {
    for (const std::string_view space : {"file:", "image:", "category:"})
      if (starts_with_word(link, space)) return {};
    const std::string_view prefix = link.substr(0, colon);
    if (prefix.size() <= 3 && link.find('|') == link.npos &&
        std::all_of(prefix.begin(), prefix.end(), [](char c) { return c >= 'a' && c <= 'z'; }))
      return {};
  }
  const size_t bar = link.rfind('|');
  std::string_view shown = bar == link.npos ? link : link.substr(bar + 1);
  if (shown.starts_with(':')) shown.remove_prefix(1);
  return std::string(shown);
}

// Links from the inmost out, since the words below a picture hold some.
std::string without_wiki_links(std::string text) {
  for (size_t at = 0; (at = text.find("]]", at)) != text.npos;) {
    const size_t open = text.rfind("[[", at);
    if (open == text.npos) {
      at += 2;
      continue;
    }
    const std::string words = link_words(std::string_view(text).substr(open + 2, at - open - 2));
    text.replace(open, at + 2 - open, words);
    at = open;
  }
  return text;
}

// "[http://x shown]" shows "shown".
std::string without_addresses(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size();) {
    const std::string_view rest = text.substr(i);
    const size_t end = rest.starts_with("[http") || rest.starts_with("[//") ? rest.find_first_of("]\n") : rest.npos;
    if (end == rest.npos || rest[end] != ']') {
      out += text[i++];
      continue;
    }
    const size_t blank = rest.find(' ');
    if (blank < end) out += rest.substr(blank + 1, end - blank - 1);
    i += end + 1;
  }
  return out;
}

void replace_all(std::string& text, std::string_view from, std::string_view to) {
  for (size_t at = 0; (at = text.find(from, at)) != text.npos; at += to.size()) text.replace(at, from.size(), to);
}

}  // namespace

std::string wikitext_to_text(std::string_view wikitext) {
  std::string text = without_elements(wikitext);
  text = without_nested(text, "{{", "}}");
  text = without_nested(text, "{|", "|}");
  text = without_addresses(without_wiki_links(std::move(text)));
  for (const std::string_view marks : {"'''''", "'''", "''", "__NOTOC__", "__TOC__", "__FORCETOC__"})
    replace_all(text, marks, "");
  for (const auto& [entity, character] : {std::pair("&nbsp;", " "),
                                          {"&ndash;", "–"},
                                          {"&mdash;", "—"},
                                          {"&lt;", "<"},
                                          {"&gt;", ">"},
                                          {"&quot;", "\""},
                                          {"&amp;", "&"}})
    replace_all(text, entity, character);
  std::string out;
  for_each_line(text, [&](std::string_view line) {
    line = trim(line);
    if (line.starts_with("==")) {
      while (line.starts_with('=')) line.remove_prefix(1);
      while (line.ends_with('=')) line.remove_suffix(1);
      line = trim(line);
    }
    while (!line.empty() && std::string_view("*#:;").find(line[0]) != std::string_view::npos) line.remove_prefix(1);
    line = trim(line);
    if (line.starts_with("|") || line.starts_with("!")) return;  // of a table that was never closed
    // What templates leave of a sentence: "(; born 1950)".
    std::string words(line);
    for (const auto& [left, right] :
         {std::pair("( ", "("), {"(; ", "("}, {"(, ", "("}, {" )", ")"}, {" ()", ""}, {" ,", ","}})
      replace_all(words, left, right);
    out.append(words) += '\n';
  });
  return out;
}

namespace {

// libxml2 reading from a ByteSource, whose exceptions must not pass through C.
struct XmlInput {
  ByteSource& source;
  std::exception_ptr thrown = nullptr;

  static int read(void* self, char* dst, int size) {
    auto* const input = static_cast<XmlInput*>(self);
    try {
      return static_cast<int>(input->source.read(dst, static_cast<size_t>(size)));
    } catch (...) {
      input->thrown = std::current_exception();
      return -1;
    }
  }
};

}  // namespace

void read_wikipedia(ByteSource& xml, const TextVisitor& visit) {
  XmlInput input{xml};
  const std::unique_ptr<xmlTextReader, void (*)(xmlTextReaderPtr)> reader(
      xmlReaderForIO(XmlInput::read, nullptr, &input, nullptr, nullptr,
                     XML_PARSE_NONET | XML_PARSE_HUGE | XML_PARSE_NOERROR | XML_PARSE_NOWARNING),
      xmlFreeTextReader);
  if (!reader) fail(ErrorCode::kEnvironment, "libxml2: out of memory");
  std::string title, space, text, element;
  bool redirect = false, any = false;
  int status = 0;
  while ((status = xmlTextReaderRead(reader.get())) == 1) {
    const auto name = [&] {
      return std::string(reinterpret_cast<const char*>(xmlTextReaderConstLocalName(reader.get())));
    };
    switch (xmlTextReaderNodeType(reader.get())) {
      case XML_READER_TYPE_ELEMENT:
        element = name();
        any |= element == "mediawiki";
        if (element == "page") title.clear(), space.clear(), text.clear(), redirect = false;
        if (element == "redirect") redirect = true;
        if (xmlTextReaderIsEmptyElement(reader.get())) element.clear();
        break;
      case XML_READER_TYPE_TEXT:
      case XML_READER_TYPE_CDATA:
      case XML_READER_TYPE_SIGNIFICANT_WHITESPACE:
        if (std::string* const into = element == "title"  ? &title
                                      : element == "ns"   ? &space
                                      : element == "text" ? &text
                                                          : nullptr)
          *into += reinterpret_cast<const char*>(xmlTextReaderConstValue(reader.get()));
        break;
      case XML_READER_TYPE_END_ELEMENT:
        if (name() == "page" && !redirect && space == "0" && !starts_with_word(text, "#redirect"))
          visit(title + "\n\n" + wikitext_to_text(text), title);
        element.clear();
        break;
      default:
        break;
    }
  }
  if (input.thrown) std::rethrow_exception(input.thrown);
  if (status != 0 || !any)
    fail(ErrorCode::kData, "line {}: expected a dump of pages (<mediawiki>), got {}",
         xmlTextReaderGetParserLineNumber(reader.get()), status != 0 ? "damaged XML" : "other XML");
}

}  // namespace troupe::corpus
