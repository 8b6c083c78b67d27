#include "data/tokenizer/bpe.h"

#include <algorithm>
#include <queue>
#include <tuple>

namespace troupe {

Bpe::Bpe(const std::array<int32_t, 256>& byte_ids, std::span<const Merge> merges)
    : byte_ids_(byte_ids), merges_(merges.size()) {
  int32_t rank = 0;
  for (const Merge& merge : merges) merges_.insert(merge.left, merge.right, Ranked{rank++, merge.result});
}

void Bpe::encode(std::string_view word, std::vector<int32_t>& ids) const {
  word.size() <= kShortBytes ? encode_short(word, ids) : encode_long(word, ids);
}

void Bpe::encode_short(std::string_view word, std::vector<int32_t>& ids) const {
  int32_t symbols[kShortBytes];
  Ranked pairs[kShortBytes];  // pairs[i]: the merge of symbols i and i + 1
  size_t count = word.size();
  if (count == 0) return;
  for (size_t i = 0; i < count; ++i) symbols[i] = byte_ids_[static_cast<uint8_t>(word[i])];
  for (size_t i = 0; i + 1 < count; ++i) pairs[i] = find(symbols[i], symbols[i + 1]);
  while (count > 1) {
    size_t best = 0;
    for (size_t i = 1; i + 1 < count; ++i)
      if (pairs[i].rank < pairs[best].rank) best = i;
    if (pairs[best].rank == kNone.rank) break;
    symbols[best] = pairs[best].result;
    --count;
    std::copy(symbols + best + 2, symbols + count + 1, symbols + best + 1);
    if (best + 1 < count) {
      std::copy(pairs + best + 2, pairs + count, pairs + best + 1);
      pairs[best] = find(symbols[best], symbols[best + 1]);
    }
    if (best > 0) pairs[best - 1] = find(symbols[best - 1], symbols[best]);
  }
  ids.insert(ids.end(), symbols, symbols + count);
}

// Symbols are a linked list over the positions of their first bytes; candidates wait in a queue and are dropped when
// one of their symbols has changed since.
void Bpe::encode_long(std::string_view word, std::vector<int32_t>& ids) const {
  struct Symbol {
    int32_t id;  // -1 once joined to the left
    int64_t previous, next;
  };
  struct Candidate {
    int32_t rank;
    int64_t at;
    int32_t left, right, result;
    bool operator>(const Candidate& other) const { return std::tie(rank, at) > std::tie(other.rank, other.at); }
  };
  const auto count = static_cast<int64_t>(word.size());
  std::vector<Symbol> symbols(word.size());
  for (int64_t i = 0; i < count; ++i) symbols[i] = {byte_ids_[static_cast<uint8_t>(word[i])], i - 1, i + 1};
  std::vector<Candidate> initial;
  const auto candidate = [&](int64_t at, const auto& add) {
    const int32_t left = symbols[at].id, right = symbols[symbols[at].next].id;
    const Ranked merge = find(left, right);
    if (merge.rank != kNone.rank) add(Candidate{merge.rank, at, left, right, merge.result});
  };
  for (int64_t i = 0; i + 1 < count; ++i) candidate(i, [&](const Candidate& c) { initial.push_back(c); });
  std::priority_queue<Candidate, std::vector<Candidate>, std::greater<>> queue(std::greater<>{}, std::move(initial));
  while (!queue.empty()) {
    const Candidate top = queue.top();
    queue.pop();
    Symbol& left = symbols[top.at];
    if (left.id != top.left || left.next == count || symbols[left.next].id != top.right) continue;
    Symbol& right = symbols[left.next];
    left.id = top.result;
    right.id = -1;
    left.next = right.next;
    if (left.next < count) symbols[left.next].previous = top.at;
    const auto push = [&](const Candidate& c) { queue.push(c); };
    if (left.previous >= 0) candidate(left.previous, push);
    if (left.next < count) candidate(top.at, push);
  }
  for (int64_t i = 0; i < count; i = symbols[i].next) ids.push_back(symbols[i].id);
}

}  // namespace troupe
