#include "study/html.h"

#include <fmt/format.h>

#include "base/utf8.h"

namespace troupe::html {

std::string escaped(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size();) {
    const auto byte = static_cast<unsigned char>(text[i]);
    const size_t length = utf8_sequence_bytes(text.substr(i));
    if (length == 0 || (byte < 0x20 && byte != '\n' && byte != '\t') || byte == 0x7f) {
      out += "\xef\xbf\xbd";
      ++i;
      continue;
    }
    switch (byte) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      case '\'':
        out += "&#39;";
        break;
      default:
        out += text.substr(i, length);
    }
    i += length;
  }
  return out;
}

std::string paragraph(std::string_view text) { return "<p>" + escaped(text) + "</p>\n"; }
std::string soft_paragraph(const std::string& html) { return "<p class=\"soft\">" + html + "</p>\n"; }

Table::Table(std::string_view caption, std::vector<std::string> header, std::string css)
    : caption_(escaped(caption)), css_(std::move(css)), header_(std::move(header)) {}

Table& Table::row(const std::string& name) {
  if (open_) body_ += "</tr>\n";
  open_ = true;
  body_ += "<tr><th scope=\"row\">" + name + "</th>";
  return *this;
}

Table& Table::cell(const std::string& html, std::string_view css) {
  body_ += css.empty() ? "<td>" : fmt::format("<td class=\"{}\">", css);
  body_ += html + "</td>";
  return *this;
}

Table& Table::cell_with(const std::string& attributes, const std::string& html) {
  body_ += "<td " + attributes + ">" + html + "</td>";
  return *this;
}

Table& Table::group(const std::string& name) {
  if (open_) body_ += "</tr>\n";
  open_ = false;
  body_ +=
      fmt::format("<tr class=\"group\"><th scope=\"rowgroup\" colspan=\"{}\">{}</th></tr>\n", header_.size(), name);
  return *this;
}

// A region that scrolls takes the keyboard's focus, so that it scrolls without a mouse, too.
std::string Table::html() const {
  std::string out = fmt::format(
      "<div class=\"scroll\" role=\"region\" tabindex=\"0\" aria-label=\"{0}\"><table{1}><caption "
      "class=\"unseen\">{0}</caption><thead><tr>",
      caption_, css_.empty() ? "" : " class=\"" + css_ + "\"");
  for (const std::string& name : header_)
    out += name.empty() ? "<td></td>" : "<th scope=\"col\">" + name + "</th>";
  return out + "</tr></thead><tbody>\n" + body_ + (open_ ? "</tr>\n" : "") + "</tbody></table></div>\n";
}

std::string_view css_of(Verdict verdict) {
  return verdict == Verdict::kBetter ? "better" : verdict == Verdict::kWorse ? "worse" : "";
}

}  // namespace troupe::html
