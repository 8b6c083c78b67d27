#include "data/tokenizer/word_counts.h"

#include <cstring>
#include <utility>

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace troupe {

WordCounts::WordCounts() : entries_(1 << 14) {}

void WordCounts::add(std::string_view word, int64_t times) {
  const uint64_t hash = XXH3_64bits(word.data(), word.size());
  const size_t mask = entries_.size() - 1;
  for (size_t i = hash & mask;; i = (i + 1) & mask) {
    Entry& entry = entries_[i];
    if (entry.count == 0) {
      entry = {hash, bytes_.size(), word.size(), times};
      bytes_ += word;
      if (2 * ++size_ > entries_.size()) grow();
      return;
    }
    if (entry.hash == hash && entry.size == word.size() &&
        std::memcmp(bytes_.data() + entry.offset, word.data(), word.size()) == 0) {
      entry.count += times;
      return;
    }
  }
}

void WordCounts::grow() {
  const std::vector<Entry> old = std::exchange(entries_, std::vector<Entry>(2 * entries_.size()));
  const size_t mask = entries_.size() - 1;
  for (const Entry& entry : old) {
    if (entry.count == 0) continue;
    size_t i = entry.hash & mask;
    while (entries_[i].count != 0) i = (i + 1) & mask;
    entries_[i] = entry;
  }
}

}  // namespace troupe
