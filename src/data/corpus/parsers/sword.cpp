#include "data/corpus/parsers/sword.h"

#include <zlib.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <map>
#include <memory>
#include <vector>

#include "base/error.h"
#include "base/utf8.h"
#include "data/corpus/parsers/lines.h"

namespace troupe::corpus {
namespace {

constexpr size_t kMaxBlockBytes = 1u << 26;  // 64 MiB: far above any book

uint32_t little_u32(std::string_view bytes, size_t at) {
  uint32_t value = 0;
  for (size_t i = 4; i-- > 0;) value = value << 8 | static_cast<unsigned char>(bytes[at + i]);
  return value;
}

std::string inflate_block(std::string_view bytes, size_t block) {
  z_stream stream{};
  if (inflateInit(&stream) != Z_OK) fail(ErrorCode::kEnvironment, "zlib: out of memory");
  const std::unique_ptr<z_stream, int (*)(z_stream*)> guard(&stream, inflateEnd);
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));  // zlib does not write to it
  stream.avail_in = static_cast<uInt>(bytes.size());
  std::string text;
  for (std::array<char, 1 << 16> buffer;;) {
    stream.next_out = reinterpret_cast<Bytef*>(buffer.data());
    stream.avail_out = static_cast<uInt>(buffer.size());
    const int status = inflate(&stream, Z_NO_FLUSH);
    text.append(buffer.data(), buffer.size() - stream.avail_out);
    if (status == Z_STREAM_END) return text;
    if (status != Z_OK || text.size() > kMaxBlockBytes)
      fail(ErrorCode::kData, "block {}: expected zlib data of at most {} bytes, got damage ({})", block, kMaxBlockBytes,
           zError(status));
  }
}

std::string_view slice(std::string_view bytes, size_t offset, size_t size, std::string_view what, size_t index) {
  if (offset > bytes.size() || size > bytes.size() - offset)
    fail(ErrorCode::kData, "{} {}: expected it inside of {} bytes, got offset {} and size {}", what, index,
         bytes.size(), offset, size);
  return bytes.substr(offset, size);
}

void check_rows(std::string_view rows, size_t row_bytes, std::string_view what) {
  if (rows.size() % row_bytes != 0)
    fail(ErrorCode::kData, "{}: expected rows of {} bytes, got {} bytes", what, row_bytes, rows.size());
}

std::string_view attribute(std::string_view tag, std::string_view name) {
  const std::string start = std::string(name) + "=\"";
  const size_t at = tag.find(start);
  if (at == tag.npos) return {};
  const std::string_view value = tag.substr(at + start.size());
  return value.substr(0, value.find('"'));
}

// "amp" or "#8217" of an entity as text; "" if it is none that these texts have.
std::string entity(std::string_view name) {
  constexpr std::array<std::pair<std::string_view, std::string_view>, 6> kEntities = {
      {{"amp", "&"}, {"lt", "<"}, {"gt", ">"}, {"quot", "\""}, {"apos", "'"}, {"nbsp", " "}}};
  for (const auto& [known, text] : kEntities)
    if (known == name) return std::string(text);
  unsigned code = 0;
  if (!name.starts_with('#')) return {};
  const auto [end, error] = std::from_chars(name.data() + 1, name.data() + name.size(), code);
  std::string text;
  if (error == std::errc() && end == name.data() + name.size() && code >= 32 && code < 0xD800) append_utf8(code, text);
  return text;
}

bool ends_line(std::string_view name) {
  constexpr std::array<std::string_view, 13> kNames = {"title", "p",    "lb",    "l",   "lg",      "item",     "div",
                                                       "row",   "list", "table", "def", "chapter", "entryFree"};
  return std::find(kNames.begin(), kNames.end(), name) != kNames.end();
}

}  // namespace

std::string osis_to_text(std::string_view osis) {
  std::string text;
  const auto space = [&] {
    if (!text.empty() && text.back() != ' ' && text.back() != '\n') text += ' ';
  };
  const auto line = [&] {
    while (text.ends_with(' ')) text.pop_back();
    if (!text.empty() && text.back() != '\n') text += '\n';
  };
  int notes = 0;
  for (size_t i = 0; i < osis.size();) {
    const char c = osis[i];
    if (c == '<') {
      const size_t end = osis.find('>', i);
      if (end == osis.npos) break;
      const std::string_view tag = osis.substr(i + 1, end - i - 1);
      i = end + 1;
      const bool closes = tag.starts_with('/');
      const std::string_view name = tag.substr(closes, tag.find_first_of(" /\t\n", closes) - closes);
      if (name == "note") {
        if (!tag.ends_with('/')) notes += closes ? -(notes > 0) : 1;
        space();
      } else if (ends_line(name) && attribute(tag, "subType") != "x-preverse") {
        line();
      } else if (name == "cell") {
        space();
      }
      continue;
    }
    ++i;
    if (notes > 0) continue;
    if (c == ' ' || c == '\n' || c == '\t' || c == '\r' || c == '\0') {
      space();
      continue;
    }
    if (c == '&') {
      const size_t end = osis.find(';', i);
      if (const std::string known = end == osis.npos ? "" : entity(osis.substr(i, end - i)); !known.empty()) {
        text += known;
        i = end + 1;
        if (osis.substr(i).starts_with(';')) ++i;  // Nave's writes two
        continue;
      }
    }
    text += c;
  }
  return text;
}

void parse_sword_verses(std::string_view blocks, std::string_view entries, size_t entry_bytes,
                        std::string_view compressed, const Emit& emit) {
  check_rows(blocks, 12, "blocks");
  check_rows(entries, entry_bytes, "entries");
  std::map<uint32_t, std::string> inflated;
  std::string osis;
  uint32_t last_block = 0, last_start = 0, last_size = 0;
  for (size_t at = 0; at < entries.size(); at += entry_bytes) {
    const uint32_t block = little_u32(entries, at), start = little_u32(entries, at + 4);
    const uint32_t size = entry_bytes == 12
                              ? little_u32(entries, at + 8)
                              : static_cast<unsigned char>(entries[at + 8]) |
                                    static_cast<uint32_t>(static_cast<unsigned char>(entries[at + 9])) << 8;
    if (size == 0 || (block == last_block && start == last_start && size == last_size)) continue;
    last_block = block, last_start = start, last_size = size;
    const std::string_view row = slice(blocks, size_t{block} * 12, 12, "block", block);
    auto& text = inflated[block];
    if (text.empty())
      text = inflate_block(slice(compressed, little_u32(row, 0), little_u32(row, 4), "block", block), block);
    osis += slice(text, start, size, "entry", at / entry_bytes);
  }
  constexpr std::string_view kChapter = "<chapter ";
  for (size_t begin = 0; begin < osis.size();) {
    size_t end = osis.find(kChapter, begin + (begin > 0 || osis.starts_with(kChapter)));
    while (end != osis.npos &&  // the tag that ends a chapter
           attribute(std::string_view(osis).substr(end, osis.find('>', end) - end), "eID") != std::string_view())
      end = osis.find(kChapter, end + 1);
    if (end == osis.npos) end = osis.size();
    emit(osis_to_text(std::string_view(osis).substr(begin, end - begin)));
    begin = end;
  }
}

void parse_sword_dictionary(std::string_view blocks, std::string_view compressed, const Emit& emit) {
  check_rows(blocks, 8, "blocks");
  for (size_t block = 0; block * 8 < blocks.size(); ++block) {
    const std::string text = inflate_block(
        slice(compressed, little_u32(blocks, block * 8), little_u32(blocks, block * 8 + 4), "block", block), block);
    const uint32_t count = little_u32(slice(text, 0, 4, "block", block), 0);
    for (uint32_t i = 0; i < count; ++i) {
      const std::string_view row = slice(text, 4 + size_t{i} * 8, 8, "entry", i);
      const std::string_view entry = slice(text, little_u32(row, 0), little_u32(row, 4), "entry", i);
      emit(std::string(attribute(entry, "n")) + '\n' + osis_to_text(entry));
    }
  }
}

}  // namespace troupe::corpus
