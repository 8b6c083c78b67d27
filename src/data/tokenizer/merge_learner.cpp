#include "data/tokenizer/merge_learner.h"

#include <algorithm>
#include <array>
#include <queue>
#include <string>
#include <tuple>
#include <unordered_map>

#include "data/tokenizer/byte_alphabet.h"
#include "data/tokenizer/pair_table.h"

namespace troupe {
namespace {

struct Word {
  size_t begin;  // of its symbols
  uint32_t size;
  int64_t count;
};

struct Pair {
  int32_t left, right;
  int64_t count = 0;            // of its occurrences now
  bool waiting = false;         // to be queued
  std::vector<uint32_t> words;  // where it occurs or has occurred
};

struct Candidate {
  int64_t count;
  int32_t left, right;
  uint32_t pair;
  bool operator<(const Candidate& other) const {
    return std::tie(count, other.left, other.right) < std::tie(other.count, left, right);
  }
};

class Learner {
 public:
  Learner(const WordCounts& counts, int64_t min_count) : min_count_(min_count) {
    for (int32_t symbol = 0; symbol < 256; ++symbol) {
      const uint8_t byte = byte_alphabet_order()[static_cast<size_t>(symbol)];
      symbol_of_byte_[byte] = symbol;
      symbols_.emplace_back(1, static_cast<char>(byte));
      symbol_ids_.emplace(symbols_.back(), symbol);
    }
    counts.for_each([&](std::string_view word, int64_t count) {
      if (word.size() < 2) return;
      words_.push_back({text_.size(), static_cast<uint32_t>(word.size()), count});
      for (const char byte : word) text_.push_back(symbol_of_byte_[static_cast<uint8_t>(byte)]);
    });
    for (uint32_t w = 0; w < words_.size(); ++w)
      for (uint32_t i = 0; i + 1 < words_[w].size; ++i)
        add(text_[words_[w].begin + i], text_[words_[w].begin + i + 1], w, words_[w].count);
    queue_waiting();
  }

  int64_t num_symbols() const { return static_cast<int64_t>(symbols_.size()); }

  // Joins the most frequent pair everywhere; false if there is none left.
  bool step(std::vector<LearnedMerge>& merges) {
    while (!queue_.empty()) {
      Candidate top = queue_.top();
      queue_.pop();
      Pair& pair = pairs_[top.pair];
      if (pair.count != top.count) {  // it has become rarer since it was queued, or is queued again
        if (pair.count < top.count && pair.count >= min_count_) {
          top.count = pair.count;
          queue_.push(top);
        }
        continue;
      }
      if (merged_.insert(top.left, top.right, 0)++ == 0) merges.push_back({top.left, top.right});
      join(top.pair);
      return true;
    }
    return false;
  }

 private:
  void add(int32_t left, int32_t right, uint32_t word, int64_t times) {
    const auto fresh = static_cast<uint32_t>(pairs_.size());
    const uint32_t index = pair_index_.insert(left, right, fresh);
    if (index == fresh) pairs_.push_back({left, right, 0, false, {}});
    Pair& pair = pairs_[index];
    pair.count += times;
    if (pair.words.empty() || pair.words.back() != word) pair.words.push_back(word);
    if (!pair.waiting) {
      pair.waiting = true;
      waiting_.push_back(index);
    }
  }
  void remove(int32_t left, int32_t right, int64_t times) { pairs_[*pair_index_.find(left, right)].count -= times; }

  void queue_waiting() {
    for (const uint32_t index : waiting_) {
      Pair& pair = pairs_[index];
      pair.waiting = false;
      if (pair.count >= min_count_) queue_.push({pair.count, pair.left, pair.right, index});
    }
    waiting_.clear();
  }

  int32_t symbol_of(const std::string& bytes) {
    const auto [found, fresh] = symbol_ids_.emplace(bytes, static_cast<int32_t>(symbols_.size()));
    if (fresh) symbols_.push_back(bytes);
    return found->second;
  }

  void join(uint32_t index) {
    const int32_t left = pairs_[index].left, right = pairs_[index].right;
    const int32_t joined = symbol_of(symbols_[static_cast<size_t>(left)] + symbols_[static_cast<size_t>(right)]);
    const std::vector<uint32_t> places = std::move(pairs_[index].words);
    pairs_[index].words.clear();
    for (const uint32_t w : places) {
      Word& word = words_[w];
      int32_t* const text = text_.data() + word.begin;
      uint32_t size = 0;
      for (uint32_t i = 0; i < word.size; ++size) {
        if (i + 1 == word.size || text[i] != left || text[i + 1] != right) {
          text[size] = text[i++];
          continue;
        }
        if (size > 0) {
          remove(text[size - 1], left, word.count);
          add(text[size - 1], joined, w, word.count);
        }
        if (i + 2 < word.size) {
          remove(right, text[i + 2], word.count);
          add(joined, text[i + 2], w, word.count);
        }
        text[size] = joined;
        i += 2;
      }
      word.size = size;
    }
    pairs_[index].count = 0;
    queue_waiting();
  }

  int64_t min_count_;
  std::array<int32_t, 256> symbol_of_byte_{};
  std::vector<std::string> symbols_;
  std::unordered_map<std::string, int32_t> symbol_ids_;
  std::vector<Word> words_;
  std::vector<int32_t> text_;  // the symbols of all words
  std::vector<Pair> pairs_;
  PairTable<uint32_t> pair_index_;
  PairTable<int32_t> merged_;
  std::priority_queue<Candidate> queue_;
  std::vector<uint32_t> waiting_;
};

}  // namespace

std::vector<LearnedMerge> learn_merges(const WordCounts& words, int64_t max_symbols, int64_t min_count,
                                       const std::function<void(int64_t symbols)>& progress) {
  Learner learner(words, std::max<int64_t>(min_count, 1));
  std::vector<LearnedMerge> merges;
  while (learner.num_symbols() < max_symbols && learner.step(merges))
    if (progress) progress(learner.num_symbols());
  return merges;
}

}  // namespace troupe
