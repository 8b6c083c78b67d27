// Finds added tokens in text before it is cut into words, as Hugging Face tokenizers does: tokens that are not
// `normalized` first, the others in what is left, once it is normalised; at each place the longest one; leftmost first.
// White space that a token takes along (`rstrip`) is still searched: a token in it is found as well, and text goes on
// where that one ends.
#pragma once

#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "data/tokenizer/byte_trie.h"
#include "data/tokenizer/definition.h"
#include "data/tokenizer/normalizer.h"

namespace troupe {

class AddedTokenFinder {
 public:
  explicit AddedTokenFinder(const std::vector<AddedToken>& tokens, std::vector<Normalizer> normalizers = {});

  // One per thread.
  class Matcher {
   public:
    explicit Matcher(const AddedTokenFinder& tokens) : tokens_(tokens) {}

    // Calls text(part, first) and token(id) for the parts of `whole`, in order; parts of text are normalised and not
    // empty, `first` says that one begins where the whole does. A part is valid until the next call.
    template <class Text, class Token>
    void split(std::string_view whole, const Text& text, const Token& token) {
      split_pass(
          0, whole,
          [&](std::string_view part, bool first) {
            split_pass(
                1, normalize(tokens_.normalizers_, part, normalized_),
                [&](std::string_view piece, bool begins) { text(piece, first && begins); }, token);
          },
          token);
    }
    // The same, all of it being text.
    template <class Text>
    void as_text(std::string_view whole, const Text& text) {
      if (!whole.empty()) text(normalize(tokens_.normalizers_, whole, normalized_), true);
    }

   private:
    template <class Text, class Token>
    void split_pass(size_t pass, std::string_view whole, const Text& text, const Token& token) {
      size_t from = 0, done = 0;  // where to search, and up to where parts were handed on
      Match match;
      while (find(pass, whole, from, done, match)) {
        if (match.begin > done) text(whole.substr(done, match.begin - done), done == 0);
        token(match.id);
        done = match.end;
      }
      if (done < whole.size()) text(whole.substr(done), done == 0);
    }

    struct Match {
      size_t begin, end;
      int32_t id;
    };
    // The next token from `from` on, which moves behind it; the match is with the white space that it takes along.
    bool find(size_t pass, std::string_view whole, size_t& from, size_t done, Match& match);

    const AddedTokenFinder& tokens_;
    std::string normalized_;
  };

 private:
  struct Pass {
    ByteTrie contents;  // of the places of tokens
    std::array<bool, 256> begins{};
  };
  std::vector<AddedToken> tokens_;
  Pass passes_[2];
  std::vector<Normalizer> normalizers_;
};

}  // namespace troupe
