#include "data/tokenizer/unigram.h"

#include <algorithm>

#include "base/utf8.h"

namespace troupe {

Unigram::Unigram(const UnigramModel& model, const std::vector<std::string_view>& names,
                 const std::array<int32_t, 256>& byte_ids)
    : pieces_(model.pieces),
      byte_ids_(byte_ids),
      unknown_score_(model.lowest_score - 10.0),
      unknown_(model.unknown),
      byte_fallback_(model.byte_fallback),
      float_sums_(model.float_sums) {
  for (size_t i = 0; i < pieces_.size(); ++i)
    if (pieces_[i].in_text) trie_.add(names[i], static_cast<int32_t>(i));
}

int32_t Unigram::piece_of(std::string_view text) const {
  int32_t node = ByteTrie::kRoot;
  for (size_t at = 0; at < text.size() && node >= 0; ++at) node = trie_.step(node, text[at]);
  const int32_t piece = node < 0 ? -1 : trie_.value(node);
  return piece < 0 ? -1 : pieces_[static_cast<size_t>(piece)].id;
}

void Unigram::encode(std::string_view word, std::vector<int32_t>& ids) const {
  float_sums_ ? encode_as<float>(word, ids) : encode_as<double>(word, ids);
}

// Sums are rounded to Sum before they are compared.
template <class Sum>
void Unigram::encode_as(std::string_view word, std::vector<int32_t>& ids) const {
  struct Best {
    int64_t begin = -1;  // of the last piece of the best cut up to here
    int32_t id = -1;     // -1: an unknown character
    Sum sum = 0;
  };
  std::vector<Best> best(word.size() + 1);  // by end
  const auto offer = [&](size_t begin, size_t end, int32_t id, double score) {
    const Sum sum = static_cast<Sum>(score) + best[begin].sum;
    if (Best& there = best[end]; there.begin < 0 || sum > there.sum) there = {static_cast<int64_t>(begin), id, sum};
  };
  for (size_t begin = 0; begin < word.size();) {
    const size_t character = first_character(word.substr(begin)).size();
    bool known = false;
    int32_t node = ByteTrie::kRoot;
    for (size_t end = begin; end < word.size();) {
      node = trie_.step(node, word[end++]);
      if (node < 0) break;
      const int32_t piece = trie_.value(node);
      if (piece < 0) continue;
      offer(begin, end, pieces_[static_cast<size_t>(piece)].id, pieces_[static_cast<size_t>(piece)].score);
      known |= end - begin == character;
    }
    if (!known) offer(begin, begin + character, -1, unknown_score_);
    begin += character;
  }

  const auto first = static_cast<std::ptrdiff_t>(ids.size());  // from the end; turned round when all are there
  const auto add_bytes = [&](std::string_view bytes) {
    for (size_t i = bytes.size(); i-- > 0;) ids.push_back(byte_ids_[static_cast<uint8_t>(bytes[i])]);
  };
  for (auto end = static_cast<int64_t>(word.size()); end > 0;) {
    int64_t begin = best[static_cast<size_t>(end)].begin;
    if (const int32_t id = best[static_cast<size_t>(end)].id; id >= 0) {
      ids.push_back(id);
    } else {
      while (begin > 0 && best[static_cast<size_t>(begin)].id < 0) begin = best[static_cast<size_t>(begin)].begin;
      const std::string_view unknown = word.substr(static_cast<size_t>(begin), static_cast<size_t>(end - begin));
      const int32_t piece = float_sums_ ? -1 : piece_of(unknown);
      if (piece < 0 && byte_fallback_)
        add_bytes(unknown);
      else
        ids.push_back(piece < 0 ? unknown_ : piece);
    }
    end = begin;
  }
  std::reverse(ids.begin() + first, ids.end());
}

}  // namespace troupe
