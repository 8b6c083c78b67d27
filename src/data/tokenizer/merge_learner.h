// Learns merges from counted words (Sennrich et al. 2016, algorithm 1, with counts updated rather than recounted).
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "data/tokenizer/word_counts.h"

namespace troupe {

struct LearnedMerge {
  int32_t left, right;
};

// Repeatedly joins the pair of neighbouring symbols that occurs most often in the words (an overlap such as "aaa"
// counts twice); among equals the one with the smallest left symbol, then the smallest right symbol. Symbols 0..255 are
// the bytes in the order of byte_alphabet_order(); merge i makes a new symbol, except that a merge whose bytes are
// those of an earlier symbol makes that one again. Stops when there are `max_symbols` symbols or no pair occurs
// `min_count` times. `progress(symbols)` is called after each merge. Does not depend on the order of the words. cost:
// O(total length of the distinct words + symbols changed * log)
std::vector<LearnedMerge> learn_merges(const WordCounts& words, int64_t max_symbols, int64_t min_count,
                                       const std::function<void(int64_t symbols)>& progress = {});

}  // namespace troupe
