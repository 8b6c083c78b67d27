#include "data/tokenizer/bpe.h"

#include <algorithm>
#include <functional>
#include <queue>

#include "base/utf8.h"

namespace troupe {
namespace {

constexpr char32_t kNoCharacter = 0xFFFFFFFF;

}  // namespace

Bpe::Bpe(const std::array<int32_t, 256>& byte_ids, std::span<const Merge> merges,
         std::span<const std::pair<char32_t, int32_t>> characters)
    : byte_ids_(byte_ids), merges_(merges.size()) {
  for (const auto& [code, id] : characters) {
    if (code >= character_ids_.size()) character_ids_.resize(code + 1, -1);
    character_ids_[code] = id;
  }
  int32_t rank = 0;
  for (const Merge& merge : merges) merges_.insert(merge.left, merge.right, Ranked{rank++, merge.result});
}

void Bpe::encode(std::string_view word, std::vector<int32_t>& ids) const {
  word.size() <= kShortBytes ? encode_short(word, ids) : encode_long(word, ids);
}

size_t Bpe::start(std::string_view word, int32_t* symbols) const {
  size_t count = 0;
  const auto add_bytes = [&](std::string_view bytes) {
    for (const char byte : bytes) {
      symbols[count] = byte_ids_[static_cast<uint8_t>(byte)];
      count += symbols[count] >= 0;
    }
  };
  if (character_ids_.empty()) {
    add_bytes(word);
    return count;
  }
  while (!word.empty()) {
    const std::string_view character = first_character(word);
    word.remove_prefix(character.size());
    const char32_t code = utf8_sequence_bytes(character) > 0 ? code_point(character) : kNoCharacter;
    if (code < character_ids_.size() && character_ids_[code] >= 0)
      symbols[count++] = character_ids_[code];
    else
      add_bytes(character);
  }
  return count;
}

void Bpe::encode_short(std::string_view word, std::vector<int32_t>& ids) const {
  int32_t symbols[kShortBytes];
  merge_short(symbols, start(word, symbols), ids);
}

void Bpe::encode_long(std::string_view word, std::vector<int32_t>& ids) const {
  std::vector<int32_t> symbols(word.size());
  symbols.resize(start(word, symbols.data()));
  merge_long(symbols, ids);
}

void Bpe::merge_short(int32_t* symbols, size_t count, std::vector<int32_t>& ids) const {
  Ranked pairs[kShortBytes];  // pairs[i]: the merge of symbols i and i + 1
  if (count == 0) return;
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

// Symbols are a linked list over the positions of their first bytes. Candidates wait in a queue, as rank and position
// in one number, and are dropped when they no longer describe the symbols at their position.
void Bpe::merge_long(std::span<const int32_t> word, std::vector<int32_t>& ids) const {
  constexpr int kPositionBits = 36;  // words up to 64 GiB, 2^28 merges
  struct Symbol {
    int32_t id;  // -1 once joined to the left
    int64_t previous, next;
  };
  const auto count = static_cast<int64_t>(word.size());
  std::vector<Symbol> symbols(word.size());
  for (int64_t i = 0; i < count; ++i) symbols[i] = {word[i], i - 1, i + 1};
  const auto merge_at = [&](int64_t at) {
    const Symbol& left = symbols[at];
    return left.id < 0 || left.next == count ? kNone : find(left.id, symbols[left.next].id);
  };
  const auto candidate = [&](int32_t rank, int64_t at) {
    return static_cast<uint64_t>(rank) << kPositionBits | static_cast<uint64_t>(at);
  };
  std::vector<uint64_t> initial;
  for (int64_t i = 0; i < count; ++i)
    if (const Ranked merge = merge_at(i); merge.rank != kNone.rank) initial.push_back(candidate(merge.rank, i));
  std::priority_queue<uint64_t, std::vector<uint64_t>, std::greater<>> queue(std::greater<>{}, std::move(initial));
  while (!queue.empty()) {
    const uint64_t top = queue.top();
    queue.pop();
    const auto at = static_cast<int64_t>(top & ((uint64_t{1} << kPositionBits) - 1));
    const Ranked merge = merge_at(at);
    if (candidate(merge.rank, at) != top) continue;
    Symbol &left = symbols[at], &right = symbols[left.next];
    left.id = merge.result;
    left.next = right.next;
    right.id = -1;
    if (left.next < count) symbols[left.next].previous = at;
    for (const int64_t changed : {left.previous, at})
      if (changed >= 0)
        if (const Ranked next = merge_at(changed); next.rank != kNone.rank) queue.push(candidate(next.rank, changed));
  }
  for (int64_t i = 0; i < count; i = symbols[i].next) ids.push_back(symbols[i].id);
}

}  // namespace troupe
