// Near-duplicate documents: Jaccard similarity of their sets of 5-word shingles, found by MinHash with banding
// (Broder 1997; Leskovec et al., Mining of Massive Datasets, chapter 3) and then computed exactly.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <optional>
#include <span>
#include <unordered_map>
#include <vector>

namespace troupe::corpus {

inline constexpr int kShingleWords = 5;

struct Shingles {
  static constexpr int kHashes = 128;
  std::vector<uint64_t> set;                  // sorted, distinct; a text of fewer than five words is one shingle
  std::array<uint32_t, kHashes> signature{};  // minimum of each of 128 hash functions over the set
};

Shingles shingle(std::span<const uint64_t> words);  // words from word_hashes()

// |a ∩ b| / |a ∪ b|; 0 if both are empty.
double jaccard(const Shingles& a, const Shingles& b);

// Documents added so far. With 32 bands of 4 hashes a pair of similarity s becomes a candidate with probability
// 1 - (1 - s^4)^32: 0.9999999 at s = 0.8. Candidates are compared exactly, so no document is dropped by chance.
class NearDuplicateIndex {
 public:
  explicit NearDuplicateIndex(double threshold = 0.8) : threshold_(threshold) {}

  // The first document added (counting from 0) whose similarity reaches the threshold, if any.
  [[nodiscard]] std::optional<size_t> find(const Shingles& shingles) const;
  void add(Shingles shingles);
  size_t size() const { return documents_.size(); }

 private:
  static constexpr int kBands = 32, kRows = Shingles::kHashes / kBands;
  static uint64_t band_key(const Shingles& shingles, int band);

  double threshold_;
  static constexpr uint32_t kNone = UINT32_MAX;
  struct Document {
    Shingles shingles;
    std::array<uint32_t, kBands> previous;  // the document before it in the same bucket of each band
  };
  std::deque<Document> documents_;
  std::unordered_map<uint64_t, uint32_t> last_;  // of each bucket
};

}  // namespace troupe::corpus
