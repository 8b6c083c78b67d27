// Byte-pair encoding of one word: start from its bytes, or from the characters that have a token; as long as two
// neighbours form a merge, join those of the merge listed first, the leftmost ones first (Sennrich et al. 2016; the
// order of Hugging Face tokenizers).
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "data/tokenizer/pair_table.h"

namespace troupe {

struct Merge {
  int32_t left, right, result;  // token ids
};

class Bpe {
 public:
  // byte_ids: the token of each byte, -1 for one that is left out. Merges in order of priority, each pair once.
  // characters: those that start as one token rather than as their bytes.
  Bpe(const std::array<int32_t, 256>& byte_ids, std::span<const Merge> merges,
      std::span<const std::pair<char32_t, int32_t>> characters = {});

  // Appends the ids of `word`. Thread-safe. Cost: O(n^2) up to 64 bytes, where that is faster; O(n log n) beyond.
  void encode(std::string_view word, std::vector<int32_t>& ids) const;

  // The two ways behind encode(), which agree on every word. Short: at most kShortBytes.
  static constexpr size_t kShortBytes = 64;
  void encode_short(std::string_view word, std::vector<int32_t>& ids) const;
  void encode_long(std::string_view word, std::vector<int32_t>& ids) const;

 private:
  struct Ranked {
    int32_t rank, result;
  };
  static constexpr Ranked kNone = {INT32_MAX, -1};
  Ranked find(int32_t left, int32_t right) const {
    const Ranked* found = merges_.find(left, right);
    return found ? *found : kNone;
  }

  // The tokens that a word starts as, at most one a byte; returns how many.
  size_t start(std::string_view word, int32_t* symbols) const;
  void merge_short(int32_t* symbols, size_t count, std::vector<int32_t>& ids) const;  // at most kShortBytes
  void merge_long(std::span<const int32_t> symbols, std::vector<int32_t>& ids) const;

  std::array<int32_t, 256> byte_ids_;
  std::vector<int32_t> character_ids_;  // by code point, -1 where there is none; empty: words start as bytes
  PairTable<Ranked> merges_;
};

}  // namespace troupe
