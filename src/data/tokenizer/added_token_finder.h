// Finds added tokens in text before it is cut into words, as Hugging Face tokenizers does: tokens that are not
// `normalized` first, the others in what is left, once it is normalised; at each place the longest one; leftmost first.
// White space that a token takes along (`rstrip`) is still searched: a token in it is found as well, and text goes on
// where that one ends.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "data/tokenizer/definition.h"
#include "data/tokenizer/normalizer.h"
#include "data/tokenizer/regex.h"

namespace troupe {

class AddedTokenFinder {
 public:
  AddedTokenFinder(const std::vector<AddedToken>& tokens, const std::string& where,
                   std::vector<Normalizer> normalizers = {});

  // One per thread.
  class Matcher {
   public:
    explicit Matcher(const AddedTokenFinder& tokens);

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
    std::unique_ptr<RegexMatcher> matchers_[2];  // null if the pass has no tokens
    std::string normalized_;
  };

 private:
  std::unordered_map<std::string, AddedToken> by_content_[2];  // by pass
  std::unique_ptr<Regex> passes_[2];
  std::vector<Normalizer> normalizers_;
};

}  // namespace troupe
