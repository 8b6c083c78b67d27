// Tables as CSV (RFC 4180, LF): structs that list their members once (io/json_fields.h) are rows, so that the columns
// of a file and the members of a JSON line cannot differ. Numbers are written so that they read back as they were; what
// is not known (NaN) is an empty cell. A list of numbers is one cell, with blanks between them.
#pragma once

#include <fmt/format.h>

#include <cmath>
#include <cstdint>
#include <string>
#include <type_traits>
#include <vector>

namespace troupe {

std::string csv_cell(const std::string& text);  // quoted where it has to be

namespace csv {

class Visitor {
 public:
  Visitor(std::string& line, bool names) : line_(line), names_(names) {}
  void constant(const char*, std::string_view) {}
  template <class T>
  void operator()(const char* name, T& value) {
    if (!line_.empty()) line_ += ',';
    if (names_)
      line_ += name;
    else if constexpr (std::is_same_v<T, std::string>)
      line_ += csv_cell(value);
    else if constexpr (std::is_same_v<T, bool>)
      line_ += value ? '1' : '0';
    else if constexpr (std::is_same_v<T, double>)
      line_ += std::isfinite(value) ? fmt::format("{}", value) : "";
    else if constexpr (std::is_same_v<T, std::vector<double>>)
      line_ += fmt::format("{}", fmt::join(value, " "));
    else
      line_ += fmt::format("{}", value);
  }
  template <class T>
  void may_lack(const char* name, T& value) {
    (*this)(name, value);
  }
  template <class T>
  void unless_empty(const char* name, T& value) {
    (*this)(name, value);
  }
  template <class T>
  void count(const char* name, T& value) {
    (*this)(name, value);
  }

 private:
  std::string& line_;
  bool names_;
};

}  // namespace csv

// Header and rows. The first column of every row must not be empty.
template <class Row>
std::string csv_text(const std::vector<Row>& rows) {
  std::string text, line;
  Row example{};
  csv::Visitor header(line, true);
  example.fields(header);
  text = line + "\n";
  for (const Row& row : rows) {
    line.clear();
    csv::Visitor cells(line, false);
    Row copy = row;  // fields() may change it
    copy.fields(cells);
    text += line + "\n";
  }
  return text;
}

}  // namespace troupe
