#include "data/corpus/parsers/html.h"

#include <libxml/HTMLparser.h>
#include <libxml/parser.h>

#include <algorithm>
#include <array>
#include <limits>
#include <memory>

#include "base/error.h"

namespace troupe::corpus {
namespace {

std::string_view view(const xmlChar* text) { return text ? reinterpret_cast<const char*>(text) : std::string_view(); }

template <size_t N>
bool contains(const std::array<std::string_view, N>& list, std::string_view name) {
  return std::find(list.begin(), list.end(), name) != list.end();
}

constexpr std::array<std::string_view, 17> kSkippedElements = {
    "head",   "script", "style", "nav",      "header", "footer", "aside", "noscript", "form",
    "button", "select", "input", "textarea", "svg",    "iframe", "info",  "comment"};
// MAC: the words that only readers on another system see.
constexpr std::array<std::string_view, 14> kSkippedClasses = {
    "navheader",  "navfooter", "sphinxsidebar", "related",   "toc",    "relatedbody", "headerlink",
    "navigation", "MAC",       "NAVHEADER",     "NAVFOOTER", "docnav", "header",      "id_link"};
// Elements after which a paragraph ends, and those which only end a line.
constexpr std::array<std::string_view, 22> kParagraphs = {
    "p",  "h1", "h2",      "h3",      "h4",    "h5",     "h6",    "pre",  "ul",    "ol",  "table", "blockquote",
    "dl", "hr", "section", "article", "title", "screen", "steps", "list", "terms", "note"};  // Mallard's, too
constexpr std::array<std::string_view, 14> kBlocks = {"div",  "li",   "tr",      "dt",    "dd",    "br",     "body",
                                                      "item", "main", "caption", "thead", "tbody", "center", "address"};

bool has_skipped_class(const xmlNode* node) {
  const std::unique_ptr<xmlChar, void (*)(void*)> value(xmlGetProp(node, BAD_CAST "class"), xmlFree);
  std::string_view classes = view(value.get());
  while (!classes.empty()) {
    const size_t space = classes.find(' ');
    if (contains(kSkippedClasses, classes.substr(0, space))) return true;
    if (space == std::string_view::npos) break;
    classes.remove_prefix(space + 1);
  }
  return false;
}

class TextWriter {
 public:
  void text(std::string_view words, bool verbatim) {
    for (const char c : words) {
      if (verbatim) {
        flush_space();
        text_ += c;
      } else if (c == ' ' || c == '\n' || c == '\t' || c == '\r') {
        space_ = true;
      } else {
        flush_space();
        text_ += c;
      }
    }
  }
  void space() { space_ = true; }
  void line() { breaks(1); }
  void paragraph() { breaks(2); }
  std::string take() { return std::move(text_); }

 private:
  void flush_space() {
    if (space_ && !text_.empty() && text_.back() != '\n' && text_.back() != ' ') text_ += ' ';
    space_ = false;
  }
  void breaks(size_t wanted) {
    space_ = false;
    if (text_.empty()) return;
    size_t have = 0;
    while (have < text_.size() && text_[text_.size() - 1 - have] == '\n') ++have;
    if (have < wanted) text_.append(wanted - have, '\n');
  }

  std::string text_;
  bool space_ = false;
};

void walk(const xmlNode* node, bool verbatim, TextWriter& out) {
  for (; node; node = node->next) {
    if (node->type == XML_TEXT_NODE || node->type == XML_CDATA_SECTION_NODE) {
      out.text(view(node->content), verbatim);
      continue;
    }
    if (node->type != XML_ELEMENT_NODE) continue;
    const std::string_view name = view(node->name);
    if (contains(kSkippedElements, name) || has_skipped_class(node)) continue;
    const bool paragraph = contains(kParagraphs, name), block = contains(kBlocks, name);
    if (paragraph) out.paragraph();
    if (block) out.line();
    if (name == "td" || name == "th") out.space();
    walk(node->children, verbatim || name == "pre" || name == "screen", out);
    if (name == "td" || name == "th") out.space();
    if (paragraph) out.paragraph();
    if (block && name != "br") out.line();
  }
}

const xmlNode* find_body(const xmlNode* node) {
  for (; node; node = node->next) {
    if (node->type != XML_ELEMENT_NODE) continue;
    if (view(node->name) == "body") return node;
    if (view(node->name) != "head")
      if (const xmlNode* body = find_body(node->children)) return body;
  }
  return nullptr;
}

// PHP that a site's server would have run.
std::string without_php(std::string_view page) {
  std::string html;
  for (size_t open; (open = page.find("<?")) != page.npos;) {
    const size_t close = page.find("?>", open);
    if (close == page.npos) break;
    html += page.substr(0, page.substr(open).starts_with("<?xml") ? close + 2 : open);
    page.remove_prefix(close + 2);
  }
  return html += page;
}

void check_page(std::string_view page) {
  static const bool initialised = (xmlInitParser(), true);  // before threads use the library
  (void)initialised;
  if (page.size() > static_cast<size_t>(std::numeric_limits<int>::max()))
    fail(ErrorCode::kData, "expected a page of less than 2 GiB, got {} bytes", page.size());
}

}  // namespace

std::string mallard_to_text(std::string_view xml) {
  check_page(xml);
  const std::unique_ptr<xmlDoc, void (*)(xmlDoc*)> document(
      xmlReadMemory(xml.data(), static_cast<int>(xml.size()), nullptr, nullptr,
                    XML_PARSE_RECOVER | XML_PARSE_NOERROR | XML_PARSE_NOWARNING | XML_PARSE_NONET),
      xmlFreeDoc);
  TextWriter out;
  if (const xmlNode* root = document ? xmlDocGetRootElement(document.get()) : nullptr) walk(root->children, false, out);
  return out.take();
}

std::string html_to_text(std::string_view html) {
  check_page(html);
  if (html.empty()) return {};
  const std::string without = html.find("<?") == html.npos ? std::string() : without_php(html);
  if (!without.empty()) html = without;
  const bool declares = html.substr(0, 4096).find("charset=") != std::string_view::npos;
  const std::unique_ptr<xmlDoc, void (*)(xmlDoc*)> document(
      htmlReadMemory(html.data(), static_cast<int>(html.size()), nullptr, declares ? nullptr : "UTF-8",
                     HTML_PARSE_RECOVER | HTML_PARSE_NOERROR | HTML_PARSE_NOWARNING | HTML_PARSE_NONET),
      xmlFreeDoc);
  if (!document) return {};
  const xmlNode* body = find_body(xmlDocGetRootElement(document.get()));
  TextWriter out;
  if (body) walk(body->children, false, out);
  return out.take();
}

}  // namespace troupe::corpus
