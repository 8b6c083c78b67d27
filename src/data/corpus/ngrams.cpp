#include "data/corpus/ngrams.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <array>
#include <atomic>
#include <bit>

namespace troupe::corpus {
namespace {

// 0 for bytes between words, else the byte in lower case.
constexpr std::array<char, 256> kWordBytes = [] {
  std::array<char, 256> table{};
  for (int c = 0; c < 256; ++c) {
    const bool upper = c >= 'A' && c <= 'Z';
    if (upper || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c >= 0x80)
      table[static_cast<size_t>(c)] = static_cast<char>(upper ? c + 32 : c);
  }
  return table;
}();

uint64_t nonzero(uint64_t hash) { return hash ? hash : 1; }

}  // namespace

std::vector<uint64_t> word_hashes(std::string_view text) {
  std::vector<uint64_t> words;
  std::string word;
  for (size_t i = 0; i <= text.size(); ++i) {
    const char c = i < text.size() ? kWordBytes[static_cast<unsigned char>(text[i])] : '\0';
    if (c) {
      word += c;
    } else if (!word.empty()) {
      words.push_back(XXH3_64bits(word.data(), word.size()));
      word.clear();
    }
  }
  return words;
}

std::vector<uint64_t> ngram_hashes(std::span<const uint64_t> words, int n) {
  std::vector<uint64_t> hashes;
  if (n < 1 || words.size() < static_cast<size_t>(n)) return hashes;
  hashes.reserve(words.size() - static_cast<size_t>(n) + 1);
  for (size_t i = 0; i + static_cast<size_t>(n) <= words.size(); ++i)
    hashes.push_back(nonzero(XXH3_64bits(words.data() + i, static_cast<size_t>(n) * sizeof(uint64_t))));
  return hashes;
}

SharedHashes::SharedHashes(size_t max_hashes) {
  const size_t places = std::bit_ceil(max_hashes * 2 + 2);
  keys_.assign(places, 0);
  owners_.assign(places, 0);
  marks_.assign(places, 0);
  mask_ = places - 1;
}

size_t SharedHashes::slot(uint64_t hash) const {
  size_t at = hash & mask_;
  while (keys_[at] != 0 && keys_[at] != hash) at = (at + 1) & mask_;
  return at;
}

void SharedHashes::insert(uint64_t hash, uint32_t owner) {
  const size_t at = slot(nonzero(hash));
  if (keys_[at] == 0) {
    keys_[at] = nonzero(hash);
    owners_[at] = owner;
  } else if (owners_[at] != owner) {
    marks_[at] = 1;
  }
}

void SharedHashes::mark(uint64_t hash) {
  const size_t at = slot(nonzero(hash));
  if (keys_[at]) std::atomic_ref<uint8_t>(marks_[at]).store(1, std::memory_order_relaxed);
}

bool SharedHashes::marked(uint64_t hash) const { return marks_[slot(nonzero(hash))] != 0; }

}  // namespace troupe::corpus
