#include "infer/prompts.h"

#include <string_view>

#include "base/error.h"
#include "base/utf8.h"
#include "data/text/byte_source.h"
#include "data/text/json_line.h"
#include "data/text/line_reader.h"

namespace troupe {

std::vector<std::string> read_prompts(const std::string& path) {
  std::string_view name = path;
  for (const std::string_view packed : {".zst", ".gz"})
    if (name.ends_with(packed)) name.remove_suffix(packed.size());
  const bool json = name.ends_with(".jsonl") || name.ends_with(".ndjson");
  if (!json && !name.ends_with(".txt"))
    fail(ErrorCode::kUsage, "{}: expected a file of prompts named .jsonl, .ndjson or .txt (or these with .zst, .gz)",
         path);

  constexpr size_t kMostLineBytes = size_t{64} << 20;
  const auto bytes = open_maybe_compressed(path);
  LineReader lines(*bytes, kMostLineBytes);
  const auto bad = [&](std::string_view message) {
    fail(ErrorCode::kData, "{}:{}: {}", path, lines.number(), message);
  };
  const auto next = [&] {
    try {
      return lines.next();
    } catch (const Error& error) {
      if (error.code() != ErrorCode::kData) throw;  // others name the file
      fail(error.code(), "{}:{}: {}", path, lines.number(), error.what());
    }
  };
  std::vector<std::string> prompts;
  JsonLineParser parser;
  JsonLineParser::Failure failure{};
  while (next()) {
    std::string prompt;
    if (lines.too_long()) {
      bad(fmt::format("expected a line of at most {} bytes, got {} or more", kMostLineBytes, lines.length()));
    } else if (!json) {
      if (const auto at = find_invalid_utf8(lines.line()))
        bad(fmt::format("expected UTF-8, got byte 0x{:02X} at byte {} of the line",
                        static_cast<unsigned char>(lines.line()[*at]), *at + 1));
      prompt = lines.line();
    } else if (lines.line().find_first_not_of(" \t\r") == std::string_view::npos) {
      bad("expected a JSON object, got a blank line");
    } else if (!parser.parse(lines.line(), failure) || !parser.get("prompt", prompt, failure)) {
      bad(failure.message);
    }
    prompts.push_back(std::move(prompt));
  }
  if (prompts.empty()) fail(ErrorCode::kData, "{}: expected at least one prompt, got an empty file", path);
  return prompts;
}

}  // namespace troupe
