#include "infer/text_stream.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "base/utf8.h"

namespace troupe {

TextStream::TextStream(std::vector<std::string> stops) : stops_(std::move(stops)) {
  for (const std::string& stop : stops_) {
    if (stop.empty()) fail(ErrorCode::kUsage, "--stop: expected a text, got an empty one");
    if (const auto at = find_invalid_utf8(stop))
      fail(ErrorCode::kUsage, "--stop: expected UTF-8, got byte 0x{:02X} at byte {}",
           static_cast<unsigned char>(stop[*at]), *at + 1);
  }
}

std::string TextStream::write(std::string_view bytes) {
  if (stopped_) return {};
  for (const char byte : bytes) {
    held_ += byte;
    size_t longest = 0;
    for (const std::string& stop : stops_)
      if (stop.size() > longest && held_.ends_with(stop)) longest = stop.size();
    if (longest == 0) continue;
    stopped_ = true;
    held_.resize(held_.size() - longest);
    return std::exchange(held_, {});
  }
  size_t open = 0;  // bytes at the end with which a stop text begins
  for (const std::string& stop : stops_)
    for (size_t length = std::min(stop.size() - 1, held_.size()); length > open; --length)
      if (held_.ends_with(std::string_view(stop).substr(0, length))) open = length;
  const size_t shown = std::min(held_.size() - open, utf8_whole_bytes(held_));
  std::string text = held_.substr(0, shown);
  held_.erase(0, shown);
  return text;
}

std::string TextStream::finish() { return std::exchange(held_, {}); }

}  // namespace troupe
