#include "eval/tasks/copa_xml.h"

#include <libxml/parser.h>
#include <libxml/tree.h>

#include <climits>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "eval/tasks/template.h"

namespace troupe {
namespace {

using Json = nlohmann::json;

std::string take(xmlChar* text) {
  std::string result = text ? reinterpret_cast<const char*>(text) : "";
  xmlFree(text);
  return result;
}

bool is_named(const xmlNode* node, const char* name) {
  return node->type == XML_ELEMENT_NODE && xmlStrEqual(node->name, reinterpret_cast<const xmlChar*>(name));
}

std::string attribute(xmlNode* node, const char* name, const std::string& where) {
  xmlChar* value = xmlGetProp(node, reinterpret_cast<const xmlChar*>(name));
  if (!value) fail(ErrorCode::kData, "{}: {}: expected this attribute, got an item without it", where, name);
  return take(value);
}

std::string child_text(xmlNode* node, const char* name, const std::string& where) {
  xmlNode* found = nullptr;
  for (xmlNode* child = node->children; child; child = child->next) {
    if (!is_named(child, name)) continue;
    if (found) fail(ErrorCode::kData, "{}: <{}>: expected this element once, got it twice", where, name);
    found = child;
  }
  if (!found) fail(ErrorCode::kData, "{}: <{}>: expected this element, got an item without it", where, name);
  std::string text = take(xmlNodeGetContent(found));
  if (is_blank(text)) fail(ErrorCode::kData, "{}: <{}>: expected text, got an empty one", where, name);
  return text;
}

}  // namespace

std::vector<Record> parse_copa_xml(std::string_view text, const std::string& where) {
  if (text.size() > INT_MAX) fail(ErrorCode::kData, "{}: expected less than 2 GiB, got {} bytes", where, text.size());
  const std::unique_ptr<xmlParserCtxt, void (*)(xmlParserCtxt*)> context(xmlNewParserCtxt(), xmlFreeParserCtxt);
  const std::unique_ptr<xmlDoc, void (*)(xmlDoc*)> document(
      xmlCtxtReadMemory(context.get(), text.data(), static_cast<int>(text.size()), nullptr, "UTF-8",
                        XML_PARSE_NONET | XML_PARSE_NOERROR | XML_PARSE_NOWARNING),
      xmlFreeDoc);
  if (!document) {
    const xmlError* error = xmlCtxtGetLastError(context.get());
    std::string message = error && error->message ? error->message : "no document";
    while (message.ends_with('\n')) message.pop_back();
    fail(ErrorCode::kData, "{}:{}: expected well-formed XML, got: {}", where, error ? error->line : 0, message);
  }
  xmlNode* root = xmlDocGetRootElement(document.get());
  if (!root || !is_named(root, "copa-corpus"))
    fail(ErrorCode::kData, "{}: expected the root element <copa-corpus>, got {}", where,
         root ? reinterpret_cast<const char*>(root->name) : "none");
  std::vector<Record> records;
  for (xmlNode* item = root->children; item; item = item->next) {
    if (item->type != XML_ELEMENT_NODE) continue;
    const std::string at = fmt::format("{}:{}", where, xmlGetLineNo(item));
    if (!is_named(item, "item"))
      fail(ErrorCode::kData, "{}: expected <item>, got <{}>", at, reinterpret_cast<const char*>(item->name));
    const std::string label = attribute(item, "most-plausible-alternative", at);
    if (label != "1" && label != "2")
      fail(ErrorCode::kData, "{}: most-plausible-alternative: expected 1 or 2, got {}", at, label);
    records.push_back({std::make_shared<Json>(Json{{"idx", attribute(item, "id", at)},
                                                   {"question", attribute(item, "asks-for", at)},
                                                   {"label", label == "1" ? "0" : "1"},
                                                   {"premise", child_text(item, "p", at)},
                                                   {"choice1", child_text(item, "a1", at)},
                                                   {"choice2", child_text(item, "a2", at)}}),
                       at});
  }
  return records;
}

}  // namespace troupe
