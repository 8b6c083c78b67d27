#include "data/corpus/near_duplicates.h"

#include <algorithm>
#include <utility>

#include "base/rng.h"
#include "data/corpus/ngrams.h"

namespace troupe::corpus {
namespace {

struct HashFunctions {
  std::array<uint32_t, Shingles::kHashes> multiplier, addend;
  HashFunctions() : multiplier(), addend() {
    Rng rng(/*key=*/0x5EED);
    for (size_t i = 0; i < multiplier.size(); ++i) {
      multiplier[i] = rng.next_u32() | 1;
      addend[i] = rng.next_u32();
    }
  }
};

}  // namespace

Shingles shingle(std::span<const uint64_t> words) {
  static const HashFunctions functions;
  Shingles result;
  if (words.empty()) return result;
  result.set = ngram_hashes(words, std::min<int>(kShingleWords, static_cast<int>(std::min<size_t>(words.size(), 5))));
  std::sort(result.set.begin(), result.set.end());
  result.set.erase(std::unique(result.set.begin(), result.set.end()), result.set.end());
  result.signature.fill(UINT32_MAX);
  for (const uint64_t hash : result.set) {
    const uint32_t x = static_cast<uint32_t>(hash >> 32);
    for (size_t i = 0; i < result.signature.size(); ++i) {
      // Multiply-add keeps the order of close values; folding the high half in spreads them.
      uint32_t value = x * functions.multiplier[i] + functions.addend[i];
      value = (value ^ value >> 15) * 0x2C1B3C6Du;
      result.signature[i] = std::min(result.signature[i], value);
    }
  }
  return result;
}

double jaccard(const Shingles& a, const Shingles& b) {
  size_t common = 0;
  for (size_t i = 0, j = 0; i < a.set.size() && j < b.set.size();) {
    if (a.set[i] == b.set[j])
      ++common, ++i, ++j;
    else if (a.set[i] < b.set[j])
      ++i;
    else
      ++j;
  }
  const size_t all = a.set.size() + b.set.size() - common;
  return all ? static_cast<double>(common) / static_cast<double>(all) : 0.0;
}

uint64_t NearDuplicateIndex::band_key(const Shingles& shingles, int band) {
  uint64_t key = static_cast<uint64_t>(band);
  for (int row = 0; row < kRows; ++row) key = mix_key(key, shingles.signature[static_cast<size_t>(band * kRows + row)]);
  return key;
}

std::optional<size_t> NearDuplicateIndex::find(const Shingles& shingles) const {
  if (shingles.set.empty()) return std::nullopt;
  std::vector<uint32_t> candidates;
  for (int band = 0; band < kBands; ++band)
    if (const auto last = last_.find(band_key(shingles, band)); last != last_.end())
      for (uint32_t id = last->second; id != kNone; id = documents_[id].previous[static_cast<size_t>(band)])
        candidates.push_back(id);
  std::sort(candidates.begin(), candidates.end());
  candidates.erase(std::unique(candidates.begin(), candidates.end()), candidates.end());
  const double size = static_cast<double>(shingles.set.size());
  for (const uint32_t candidate : candidates) {
    const Shingles& other = documents_[candidate].shingles;
    const double other_size = static_cast<double>(other.set.size());
    if (std::min(size, other_size) < threshold_ * std::max(size, other_size)) continue;  // too different in length
    if (jaccard(shingles, other) >= threshold_) return candidate;
  }
  return std::nullopt;
}

void NearDuplicateIndex::add(Shingles shingles) {
  const uint32_t id = static_cast<uint32_t>(documents_.size());
  Document document{{}, {}};
  document.previous.fill(kNone);
  if (!shingles.set.empty())
    for (int band = 0; band < kBands; ++band) {
      const auto [last, is_new] = last_.try_emplace(band_key(shingles, band), id);
      if (!is_new) document.previous[static_cast<size_t>(band)] = std::exchange(last->second, id);
    }
  document.shingles = std::move(shingles);
  documents_.push_back(std::move(document));
}

}  // namespace troupe::corpus
