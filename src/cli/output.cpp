#include "cli/output.h"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/error.h"
#include "base/log_status.h"
#include "base/unicode.h"
#include "base/utf8.h"
#include "cli/color.h"
#include "io/json_text.h"

namespace troupe::cli {
namespace {

bool silent = false;

[[noreturn]] void fail_output() {
  fail(ErrorCode::kEnvironment, "standard output: expected to write results, got: {}",
       errno ? std::strerror(errno) : "an error");
}

// What is written to the terminal that has a progress bar stands above it.
void write_out(std::string_view bytes, bool now) {
  if (silent) return;
  std::optional<log::StatusAside> aside;
  if (is_terminal(Stream::kOut)) aside.emplace(), now = true;
  errno = 0;
  if (std::fwrite(bytes.data(), 1, bytes.size(), stdout) != bytes.size() || (now && std::fflush(stdout) != 0))
    fail_output();
}

// Words of a verdict have a colour.
std::string with_color(const std::string& padded, const std::string& cell) {
  if (cell == "better" || cell == "equal") return painted(padded, Paint::kGood, Stream::kOut);
  if (cell == "worse" || cell == "DIFFERS") return painted(padded, Paint::kBad, Stream::kOut);
  return padded;
}

}  // namespace

void print_bytes(std::string_view bytes) { write_out(bytes, true); }

void print_text(std::string_view text) { write_out(visible_text(text), false); }

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
      widths[i] = std::max(widths[i], unicode::columns(visible_line(row[i])));
    }
  std::string out;
  for (const auto& row : rows) {
    std::string line;
    for (size_t i = 0; i < row.size(); ++i) {
      const std::string cell = visible_line(row[i]), padding(widths[i] - unicode::columns(cell), ' ');
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
  write_out(out, false);
}

void silence_output() { silent = true; }

std::string grouped(long long value) {
  std::string text = fmt::format("{}", value);
  for (auto i = static_cast<std::ptrdiff_t>(text.size()) - 3; i > (value < 0); i -= 3) text.insert(i, ",");
  return text;
}

}  // namespace troupe::cli
