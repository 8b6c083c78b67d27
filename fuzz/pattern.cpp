// Any bytes as a tokenizer's pattern, then a text that it cuts: the pieces are the text, or the pattern is refused.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "base/utf8.h"
#include "data/tokenizer/word_splitter.h"
#include "troupe/error.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace troupe;
  if (size == 0) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  const size_t cut = std::min(bytes.find('\0'), bytes.size());
  const std::string_view pattern = bytes.substr(0, cut), text = bytes.substr(cut);
  if (find_invalid_utf8(pattern)) return 0;  // files are checked before
  const auto behavior = static_cast<SplitBehavior>(data[0] % 5);
  try {
    const WordSplitter splitter(pattern, "fuzz",
                                {.behavior = behavior, .invert = (data[0] & 64) != 0, .literal = (data[0] & 128) != 0});
    WordSplitter::Matcher matcher(splitter);
    std::string pieces;
    matcher.split(text, [&](std::string_view word) { pieces += word; });
    if (pieces != text && behavior != SplitBehavior::kRemoved) std::abort();
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kData) std::abort();
  }
  return 0;
}
