#include "data/tokenizer/charsmap.h"

#include <algorithm>

#include "base/error.h"
#include "base/unicode.h"
#include "base/utf8.h"
#include "data/tokenizer/utf8_runs.h"
#include "data/tokenizer/word_pipeline.h"

namespace troupe {
namespace {

constexpr size_t kUnitBytes = sizeof(uint32_t);

// A unit of Darts-clone's double array.
uint32_t label_of(uint32_t unit) { return unit & (1u << 31 | 0xFF); }
bool has_leaf(uint32_t unit) { return (unit >> 8 & 1) != 0; }
size_t offset_of(uint32_t unit) { return static_cast<size_t>(unit >> 10) << ((unit & 1u << 9) >> 6); }
size_t value_of(uint32_t unit) { return unit & ((1u << 31) - 1); }

}  // namespace

Charsmap::Charsmap(std::string blob, const std::string& where) : blob_(std::move(blob)) {
  uint32_t bytes = 0;
  if (blob_.size() > kUnitBytes) {
    for (size_t i = kUnitBytes; i-- > 0;) bytes = bytes << 8 | static_cast<uint8_t>(blob_[i]);
    units_ = bytes / kUnitBytes;
  }
  if (units_ == 0 || bytes > blob_.size() - kUnitBytes)
    fail(ErrorCode::kData, "{}: expected a trie of at most {} bytes, as there are, got {}", where, blob_.size(), bytes);
}

uint32_t Charsmap::unit(size_t at) const {
  uint32_t value = 0;
  if (at >= units_) return 1u << 31;  // the label of no byte
  for (size_t i = kUnitBytes; i-- > 0;) value = value << 8 | static_cast<uint8_t>(blob_[(at + 1) * kUnitBytes + i]);
  return value;
}

size_t Charsmap::find(std::string_view text, bool first, std::string_view& to) const {
  size_t found = 0, node = offset_of(unit(0));
  for (size_t i = 0; i < text.size() && !(first && found > 0); ++i) {
    node ^= static_cast<uint8_t>(text[i]);
    const uint32_t here = unit(node);
    if (label_of(here) != static_cast<uint8_t>(text[i])) break;
    node ^= offset_of(here);
    if (!has_leaf(here)) continue;
    const size_t begin = std::min((units_ + 1) * kUnitBytes + value_of(unit(node)), blob_.size());
    found = i + 1;
    to = std::string_view(blob_).substr(begin);
    to = to.substr(0, to.find('\0'));
  }
  return found;
}

std::string sentencepiece_normalized(const Charsmap* map, bool removes_spaces, bool dummy_prefix,
                                     std::string_view text) {
  // What the beginning of `text` becomes; takes it away.
  const auto take = [&] {
    std::string_view to;
    size_t bytes = map ? map->longest(text, to) : 0;
    if (bytes == 0) to = first_character(text), bytes = to.size();
    text.remove_prefix(bytes);
    return to;
  };
  std::string out;
  bool after_space = removes_spaces, begun = false;
  while (!text.empty()) {
    std::string_view to = take();
    if (!begun && removes_spaces && to == " ") continue;
    if (!begun && dummy_prefix) out += kMetaspace;
    begun = true;
    while (after_space && to.starts_with(' ')) to.remove_prefix(1);
    for (const char byte : to) byte == ' ' ? out += kMetaspace : out += byte;
    if (removes_spaces && !to.empty()) after_space = to.ends_with(' ');
  }
  while (removes_spaces && out.ends_with(kMetaspace)) out.resize(out.size() - kMetaspace.size());
  return out;
}

std::string precompiled_normalized(const Charsmap& map, std::string_view text) {
  constexpr size_t kWholeBytes = 6;
  std::string out;
  const auto put = [&](std::string_view chunk) {
    std::string_view to;
    const bool found = map.shortest(chunk, to) > 0;
    if (found) out += to;
    return found;
  };
  for_each_utf8_run(
      text,
      [&](std::string_view run) {
        while (!run.empty()) {
          std::string_view grapheme = run.substr(0, unicode::first_grapheme(run));
          run.remove_prefix(grapheme.size());
          if (grapheme.size() < kWholeBytes && put(grapheme)) continue;
          for (; !grapheme.empty(); grapheme.remove_prefix(first_character(grapheme).size()))
            if (const std::string_view one = first_character(grapheme); !put(one)) out += one;
        }
      },
      [&](std::string_view run) { out += run; });
  return out;
}

}  // namespace troupe
