#include "data/text/line_reader.h"

#include <cstring>

namespace troupe {

LineReader::LineReader(ByteSource& source, size_t max_line_bytes)
    : source_(source), limit_(max_line_bytes), chunk_(1 << 18) {}

bool LineReader::fill() {
  begin_ = 0;
  end_ = source_.read(chunk_.data(), chunk_.size());
  return end_ > 0;
}

bool LineReader::next() {
  ++number_;
  held_.clear();
  length_ = 0;
  line_ = {};
  bool any = false, ended = false;
  while (!ended && (begin_ < end_ || fill())) {
    any = true;
    const char* start = chunk_.data() + begin_;
    const size_t available = end_ - begin_;
    const char* newline = static_cast<const char*>(std::memchr(start, '\n', available));
    ended = newline != nullptr;
    const size_t part = ended ? static_cast<size_t>(newline - start) : available;
    begin_ += part + (ended ? 1 : 0);
    if (ended && length_ == 0) {  // the whole line lies in this chunk
      line_ = {start, part};
    } else {
      // One byte over the limit may still be the CR of a CRLF.
      if (length_ <= limit_ + 1 && part <= limit_ + 1) held_.append(start, part);
    }
    length_ += part;
  }
  if (!any) return false;
  if (line_.empty()) line_ = held_;
  if (length_ > limit_ + 1) {
    line_ = {};
    held_ = {};
    return true;
  }
  if (ended && line_.ends_with('\r')) {
    line_.remove_suffix(1);
    --length_;
    crlf_ = true;
  }
  if (number_ == 1 && line_.starts_with("\xEF\xBB\xBF")) {
    line_.remove_prefix(3);
    length_ -= 3;
    byte_order_mark_ = true;
  }
  if (length_ > limit_) line_ = {};
  return true;
}

}  // namespace troupe
