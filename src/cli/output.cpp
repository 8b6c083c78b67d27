#include "cli/output.h"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/unicode.h"
#include "base/utf8.h"
#include "cli/color.h"
#include "io/json_text.h"

namespace troupe::cli {
namespace {

[[noreturn]] void fail_output() {
  fail(ErrorCode::kEnvironment, "standard output: expected to write results, got: {}",
       errno ? std::strerror(errno) : "an error");
}

void write_shown(std::string_view shown) {
  errno = 0;
  if (std::fwrite(shown.data(), 1, shown.size(), stdout) != shown.size()) fail_output();
}

// Words of a verdict have a colour.
std::string with_color(const std::string& padded, const std::string& cell) {
  if (cell == "better" || cell == "equal") return painted(padded, Paint::kGood, Stream::kOut);
  if (cell == "worse" || cell == "DIFFERS") return painted(padded, Paint::kBad, Stream::kOut);
  return padded;
}

}  // namespace

void print_bytes(std::string_view bytes) {
  errno = 0;
  if (std::fwrite(bytes.data(), 1, bytes.size(), stdout) != bytes.size() || std::fflush(stdout) != 0) fail_output();
}

void print_text(std::string_view text) { write_shown(visible_text(text)); }

void flush_output() {
  errno = 0;
  if (std::fflush(stdout) != 0 || std::ferror(stdout)) fail_output();
}

void print_json(const nlohmann::ordered_json& object) {
  print_bytes(json_text(object) + "\n");
}

void print_table(const std::vector<std::vector<std::string>>& rows) {
  std::vector<size_t> widths;
  for (const auto& row : rows)
    for (size_t i = 0; i < row.size(); ++i) {
      if (i == widths.size()) widths.push_back(0);
      widths[i] = std::max(widths[i], unicode::columns(visible_text(row[i])));
    }
  std::string out;
  for (const auto& row : rows) {
    std::string line;
    for (size_t i = 0; i < row.size(); ++i) {
      const std::string cell = visible_text(row[i]), padding(widths[i] - unicode::columns(cell), ' ');
      line += (i ? "  " : "") + with_color(i ? padding + cell : cell + padding, cell);
    }
    line.resize(line.find_last_not_of(' ') + 1);
    out += (&row == &rows.front() ? painted(line, Paint::kHeading, Stream::kOut) : line) + "\n";
    if (&row == &rows.front()) {
      size_t total = 2 * (widths.size() - 1);
      for (const size_t width : widths) total += width;
      out += std::string(total, '-') + "\n";
    }
  }
  write_shown(out);
}

std::string grouped(long long value) {
  std::string text = fmt::format("{}", value);
  for (auto i = static_cast<std::ptrdiff_t>(text.size()) - 3; i > (value < 0); i -= 3) text.insert(i, ",");
  return text;
}

}  // namespace troupe::cli
