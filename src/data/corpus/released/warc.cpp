#include "data/corpus/released/warc.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <map>
#include <optional>
#include <vector>

#include "base/error.h"
#include "data/corpus/parsers/html.h"
#include "data/corpus/parsers/lines.h"

namespace troupe::corpus {
namespace {

constexpr size_t kMaxHeaderBytes = 1 << 20;

class BufferedBytes {
 public:
  explicit BufferedBytes(ByteSource& source) : source_(source), buffer_(1 << 16) {}

  // The next line without its end; nothing at the end of the stream.
  std::optional<std::string> line() {
    std::string line;
    for (char c = 0; next(c);) {
      if (c == '\n') {
        if (line.ends_with('\r')) line.pop_back();
        return line;
      }
      line += c;
      if (line.size() > kMaxHeaderBytes)
        fail(ErrorCode::kData, "expected a line of at most {} bytes in a header", kMaxHeaderBytes);
    }
    if (line.empty()) return std::nullopt;
    return line;
  }
  std::string take(size_t size) {
    std::string bytes;
    for (char c = 0; bytes.size() < size && next(c);) bytes += c;
    if (bytes.size() < size) fail(ErrorCode::kData, "expected {} bytes, got the end after {}", size, bytes.size());
    return bytes;
  }
  void skip(uint64_t size) {
    for (char c = 0; size > 0; --size)
      if (!next(c)) fail(ErrorCode::kData, "expected {} more bytes, got the end", size);
  }

 private:
  bool next(char& c) {
    if (at_ == end_) {
      at_ = 0;
      end_ = source_.read(buffer_.data(), buffer_.size());
      if (end_ == 0) return false;
    }
    c = buffer_[at_++];
    return true;
  }

  ByteSource& source_;
  std::vector<char> buffer_;
  size_t at_ = 0, end_ = 0;
};

using Headers = std::map<std::string, std::string>;  // names in lower case

void add_header(std::string_view line, Headers& headers) {
  const size_t colon = line.find(':');
  if (colon == line.npos) return;
  std::string name(line.substr(0, colon));
  std::transform(name.begin(), name.end(), name.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  headers[name] = trim(line.substr(colon + 1));
}

// Of an HTTP response the body, if it is HTML as it is (crawls store it decoded); else "".
std::string_view html_body(std::string_view response) {
  const size_t end = std::min(response.find("\r\n\r\n"), response.size());
  Headers headers;
  for_each_line(response.substr(0, end), [&](std::string_view line) { add_header(line, headers); });
  if (headers["content-type"].find("html") == std::string::npos || end == response.size()) return {};
  return response.substr(end + 4);
}

}  // namespace

std::string prose_of_page(std::string_view text) {
  constexpr int64_t kFewestWords = 8;
  std::string prose;
  for_each_line(text, [&](std::string_view line) {
    line = trim(line);
    std::string_view end = line;
    for (const std::string_view quote : {"\"", "\u201d", "\u2019", "'", ")"})
      if (end.ends_with(quote)) end.remove_suffix(quote.size());
    const bool stops = !end.empty() && std::string_view(".!?\u2026").find(end.back()) != std::string_view::npos;
    if (stops && std::count(line.begin(), line.end(), ' ') + 1 >= kFewestWords) prose.append(line) += '\n';
  });
  return prose;
}

void read_warc(ByteSource& warc, const TextVisitor& visit) {
  BufferedBytes bytes(warc);
  for (int64_t number = 1;; ++number) {
    std::optional<std::string> line;
    while ((line = bytes.line()) && line->empty()) {
    }
    if (!line) break;
    try {
      if (!line->starts_with("WARC/")) fail(ErrorCode::kData, "expected WARC/ and a version, got \"{:.40}\"", *line);
      Headers headers;
      while ((line = bytes.line()) && !line->empty()) add_header(*line, headers);
      const std::string& length = headers["content-length"];
      uint64_t size = 0;
      const auto [end, error] = std::from_chars(length.data(), length.data() + length.size(), size);
      if (error != std::errc() || length.empty() || end != length.data() + length.size())
        fail(ErrorCode::kData, "Content-Length: expected a number, got \"{:.40}\"", length);
      const std::string& type = headers["warc-type"];
      if ((type != "response" && type != "conversion") || size > kMaxReleasedBytes) {
        bytes.skip(size);
        continue;
      }
      const std::string content = bytes.take(size);
      const std::string text = type == "conversion" ? content : html_to_text(html_body(content));
      visit(prose_of_page(text), headers["warc-target-uri"]);
    } catch (const Error& damage) {
      if (damage.code() != ErrorCode::kData) throw;
      fail(ErrorCode::kData, "record {}: {}", number, damage.what());
    }
  }
}

}  // namespace troupe::corpus
