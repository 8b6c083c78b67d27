#include "data/corpus/parsers/arff.h"

#include <algorithm>
#include <cctype>

#include "base/error.h"
#include "data/corpus/parsers/lines.h"

namespace troupe::corpus {
namespace {

bool is_data_mark(std::string_view line) {
  line = trim(line);
  constexpr std::string_view kMark = "@data";
  return line.size() == kMark.size() && std::equal(line.begin(), line.end(), kMark.begin(), [](char a, char b) {
           return std::tolower(static_cast<unsigned char>(a)) == b;
         });
}

std::string unescape(std::string_view row, int64_t number) {
  const char quote = row.empty() ? '\0' : row[0];
  if (quote != '\'' && quote != '"')
    fail(ErrorCode::kData, "line {}: expected a row that begins with a quoted string", number);
  std::string text;
  for (size_t i = 1; i < row.size(); ++i) {
    if (row[i] == quote) return text;
    if (row[i] != '\\') {
      text += row[i];
      continue;
    }
    if (++i == row.size()) break;
    const char c = row[i];
    text += c == 'n' ? '\n' : c == 't' ? '\t' : c == 'r' ? '\r' : c;
  }
  fail(ErrorCode::kData, "line {}: expected a closing {} in this row, got its end", number, quote);
}

}  // namespace

void parse_arff(std::string_view bytes, const Emit& emit) {
  bool in_data = false;
  int64_t number = 0;
  for_each_line(bytes, [&](std::string_view line) {
    ++number;
    if (!in_data) {
      in_data = is_data_mark(line);
    } else if (!is_blank(line) && line[0] != '%') {
      emit(unescape(line, number));
    }
  });
  if (!in_data) fail(ErrorCode::kData, "line {}: expected @data, got the end of the file", number);
}

}  // namespace troupe::corpus
