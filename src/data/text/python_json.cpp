#include "data/text/python_json.h"

#include <algorithm>
#include <cctype>

namespace troupe {
namespace {

// The UTF-16 unit of the escape \uXXXX at the start of `text`, or -1.
int utf16_unit(std::string_view text) {
  if (text.size() < 6 || text[0] != '\\' || text[1] != 'u') return -1;
  int unit = 0;
  for (const char c : text.substr(2, 4)) {
    if (!std::isxdigit(static_cast<unsigned char>(c))) return -1;
    unit = unit * 16 + (c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
  }
  return unit;
}

bool is_high(int unit) { return unit >= 0xD800 && unit < 0xDC00; }
bool is_low(int unit) { return unit >= 0xDC00 && unit < 0xE000; }

// Bytes of a number by JSON's grammar at the start of `text`, or 0; `plain` is false where a parser of 64 bits might
// refuse.
size_t number_bytes(std::string_view text, bool& plain) {
  size_t i = 0;
  const auto digits = [&] {
    const size_t first = i;
    while (i < text.size() && std::isdigit(static_cast<unsigned char>(text[i]))) ++i;
    return i - first;
  };
  if (text.starts_with('-')) ++i;
  const size_t integer = i, whole = digits();
  if (whole == 0 || (whole > 1 && text[integer] == '0')) return 0;
  plain = whole < 18;
  if (i < text.size() && text[i] == '.') {
    ++i;
    if (digits() == 0) return 0;
  }
  if (i < text.size() && (text[i] | 0x20) == 'e') {
    ++i;
    if (i < text.size() && (text[i] == '+' || text[i] == '-')) ++i;
    if (digits() == 0) return 0;
    plain = false;  // 1e400
  }
  return i;
}

class Scanner {
 public:
  explicit Scanner(std::string_view line) : line_(line) { result_.text = line; }

  PlainJson run() {
    for (size_t i = 0; i < line_.size();) {
      const char c = line_[i];
      if (c == '"') {
        i = string(i);
        continue;
      }
      if (c == '{' || c == '[') keys_.emplace_back();
      if ((c == '}' || c == ']') && !keys_.empty()) keys_.pop_back();
      const size_t bytes = word(i);
      i += std::max<size_t>(bytes, 1);
    }
    return std::move(result_);
  }

 private:
  // A bare word: replaces what is to be replaced and returns its length.
  size_t word(size_t at) {
    const std::string_view rest = line_.substr(at);
    for (const std::string_view name : {"NaN", "Infinity", "-Infinity"})
      if (rest.starts_with(name)) return replace_by_zero(at, name.size());
    bool plain = true;
    const size_t bytes = number_bytes(rest, plain);
    if (bytes > 0 && !plain) replace_by_zero(at, bytes);
    return bytes;
  }

  size_t replace_by_zero(size_t at, size_t size) {
    result_.text.replace(at, size, size, ' ');
    result_.text[at] = '0';
    result_.changed = true;
    return size;
  }

  // The string that opens at `at`: returns where it ends.
  size_t string(size_t at) {
    std::vector<size_t> lone;
    size_t i = at + 1;
    while (i < line_.size() && line_[i] != '"') {
      const int unit = utf16_unit(line_.substr(i));
      if (is_high(unit) && is_low(utf16_unit(line_.substr(std::min(i + 6, line_.size()))))) {
        i += 12;
      } else if (is_high(unit) || is_low(unit)) {
        lone.push_back(i);
        i += 6;
      } else {
        i += line_[i] == '\\' ? 2 : 1;
      }
    }
    i = std::min(i + 1, line_.size());
    const size_t next = line_.find_first_not_of(" \t\r\n", i);
    const bool is_key = next != line_.npos && line_[next] == ':';
    if (is_key && !keys_.empty()) keys_.back() = line_.substr(at + 1, i - at - 2);
    for (const size_t begin : lone) {
      result_.lone_surrogates.push_back({is_key ? "" : path(), std::string(line_.substr(begin, 6)), begin});
      result_.text.replace(begin, 6, "\\ufffd");
      result_.changed = true;
    }
    return i;
  }

  std::string path() const {
    std::string joined;
    for (const std::string& key : keys_) joined += (joined.empty() || key.empty() ? "" : ".") + key;
    return joined;
  }

  std::string_view line_;
  PlainJson result_;
  std::vector<std::string> keys_;  // of the open objects; "" for an array
};

}  // namespace

PlainJson plain_json(std::string_view line) { return Scanner(line).run(); }

}  // namespace troupe
