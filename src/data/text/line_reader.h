// Lines of a byte stream, whatever their length: a line over the limit is passed over without being kept in memory.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "data/text/byte_source.h"

namespace troupe {

class LineReader {
 public:
  // Lines longer than max_line_bytes come back empty with too_long() set.
  LineReader(ByteSource& source, size_t max_line_bytes);

  // Moves to the next line; false at the end. Line ends are LF or CRLF and belong to no line; a UTF-8 byte-order mark
  // at the very start is dropped. Throws what the source throws; number() is then the line that was being read.
  bool next();

  std::string_view line() const { return line_; }  // until the next call of next()
  int64_t number() const { return number_; }       // 1 is the first line
  size_t length() const { return length_; }        // bytes, also of a line that is too long
  bool too_long() const { return length_ > limit_; }
  bool had_byte_order_mark() const { return byte_order_mark_; }
  bool had_crlf() const { return crlf_; }

 private:
  bool fill();

  ByteSource& source_;
  size_t limit_;
  std::vector<char> chunk_;
  size_t begin_ = 0, end_ = 0;  // unread part of chunk_
  std::string held_;            // a line that spans chunks
  std::string_view line_;
  size_t length_ = 0;
  int64_t number_ = 0;
  bool byte_order_mark_ = false, crlf_ = false;
};

}  // namespace troupe
