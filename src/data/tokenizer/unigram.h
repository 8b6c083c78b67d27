// The unigram model (Kudo 2018): a word is cut into the pieces whose scores, logarithms of probabilities, have the
// largest sum. What no piece covers is an unknown character, at 10 below the lowest score.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "data/tokenizer/byte_trie.h"

namespace troupe {

struct UnigramModel {
  struct Piece {
    int32_t id;
    double score;
    bool in_text = true;  // else no text becomes this
  };
  std::vector<Piece> pieces;
  double lowest_score = 0.0;   // of the pieces
  int32_t unknown = -1;        // what unknown characters side by side become,
  bool byte_fallback = false;  // unless they become their bytes
  bool float_sums = false;     // sums are rounded to float32 as SentencePiece's own are, which decides between equals
};

class Unigram {
 public:
  // names: the text of every piece of the model, in its order. byte_ids: for byte_fallback.
  Unigram(const UnigramModel& model, const std::vector<std::string_view>& names,
          const std::array<int32_t, 256>& byte_ids);

  // Appends the ids of `word`. Of equal sums the one whose last piece begins first. Thread-safe. Cost: O(n) steps
  // through the trie for each length of a piece.
  void encode(std::string_view word, std::vector<int32_t>& ids) const;

 private:
  int32_t piece_of(std::string_view text) const;
  template <class Sum>
  void encode_as(std::string_view word, std::vector<int32_t>& ids) const;

  std::vector<UnigramModel::Piece> pieces_;
  ByteTrie trie_;  // of those that stand for text: their places in pieces_
  std::array<int32_t, 256> byte_ids_;
  double unknown_score_;
  int32_t unknown_;
  bool byte_fallback_, float_sums_;
};

}  // namespace troupe
