// SentencePiece's table of rewritten text (precompiled_charsmap): a double-array trie (Darts-clone) of what is
// replaced, whose values are places in a list of replacements.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace troupe {

class Charsmap {
 public:
  // `blob` is little-endian: bytes of the trie (u32), its units (u32 each), replacements, each up to a zero. Throws
  // kData if it cannot be one; a lookup stays within it whatever it holds.
  Charsmap(std::string blob, const std::string& where);
  const std::string& blob() const { return blob_; }

  // The longest and the shortest key that `text` begins with, and what takes its place: bytes of it, 0 if there is
  // none.
  size_t longest(std::string_view text, std::string_view& to) const { return find(text, false, to); }
  size_t shortest(std::string_view text, std::string_view& to) const { return find(text, true, to); }

 private:
  size_t find(std::string_view text, bool first, std::string_view& to) const;
  uint32_t unit(size_t at) const;

  std::string blob_;
  size_t units_ = 0;
};

// As SentencePiece normalises a text: the longest keys from left to right; spaces at its ends and beside others go with
// `removes_spaces`; one comes before it with `dummy_prefix`; all are U+2581. `map` may be nullptr. Bytes that are not
// UTF-8 stay (there, U+FFFD takes their place).
std::string sentencepiece_normalized(const Charsmap* map, bool removes_spaces, bool dummy_prefix,
                                     std::string_view text);

// As Hugging Face tokenizers does with the same table: a grapheme of less than 6 bytes by the shortest key that it
// begins with, as a whole, or else each of its characters likewise.
std::string precompiled_normalized(const Charsmap& map, std::string_view text);

}  // namespace troupe
