// Words and n-grams of documents as 64-bit hashes, and how much of one text stands in another.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace troupe::corpus {

// One hash per word: a run of ASCII letters and digits or non-ASCII bytes, letters taken as lower case. Punctuation and
// layout do not count.
std::vector<uint64_t> word_hashes(std::string_view text);

// The hash of every run of n words, in order; empty if there are fewer than n.
std::vector<uint64_t> ngram_hashes(std::span<const uint64_t> words, int n);

// A set of hashes, each owned by the first document that inserts it and marked once another document has it too.
// Inserting is for one thread, looking up and marking for any number.
class SharedHashes {
 public:
  explicit SharedHashes(size_t max_hashes);
  void insert(uint64_t hash, uint32_t owner);  // marks it if another document owns it
  void mark(uint64_t hash);                    // of a hash outside the set: nothing
  bool marked(uint64_t hash) const;

 private:
  size_t slot(uint64_t hash) const;  // of the hash, or of the empty place where it would be
  std::vector<uint64_t> keys_;       // open addressing, 0 is empty
  std::vector<uint32_t> owners_;
  std::vector<uint8_t> marks_;
  uint64_t mask_ = 0;
};

}  // namespace troupe::corpus
