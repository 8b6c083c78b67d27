// Pieces of HTML: text, tables and the page around them.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "study/paired.h"

namespace troupe::html {

std::string escaped(std::string_view text);  // bytes that are not UTF-8 and control characters become U+FFFD
std::string paragraph(std::string_view text);       // escaped
std::string soft_paragraph(const std::string& html);  // small print

// A table that scrolls inside the page where it is too wide. Cells are HTML. The first column names the rows.
class Table {
 public:
  // `caption`: text, read by screen readers alone; `css`: a class of the table.
  Table(std::string_view caption, std::vector<std::string> header, std::string css = {});

  Table& row(const std::string& name);  // the cells that follow are in it
  Table& cell(const std::string& html, std::string_view css = {});
  Table& cell_with(const std::string& attributes, const std::string& html);  // attributes are escaped HTML
  Table& group(const std::string& name);  // a line over the rows that follow
  bool empty() const { return body_.empty(); }
  std::string html() const;

 private:
  std::string caption_, css_, body_;
  std::vector<std::string> header_;
  bool open_ = false;
};

// The class that colours a verdict; empty for one that says nothing.
std::string_view css_of(Verdict verdict);

// A whole document: `title` is text, `body` is HTML.
std::string page(const std::string& title, const std::string& body);

}  // namespace troupe::html
