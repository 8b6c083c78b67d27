// Cuts text into words, the units within which byte pairs merge ("pre-tokenisation"), so that the words concatenated
// are the text, whatever its bytes:
//   1. Text is cut into maximal runs that are well-formed UTF-8 and runs that are not.
//   2. A run that is not well-formed is one word.
//   3. A well-formed run is matched from left to right with the pattern, as if it were the whole text; what lies
//   between
//      two matches is a word too.
// PCRE2 is the specification. For GPT-2's pattern a scanner serves the words made of ASCII alone (ascii_scanner.h).
#pragma once

#include <string>
#include <string_view>

#include "base/utf8.h"
#include "data/tokenizer/ascii_scanner.h"
#include "data/tokenizer/oniguruma.h"
#include "data/tokenizer/regex.h"

namespace troupe {

// GPT-2's pattern (Radford et al. 2019, encoder.py). \s is Unicode's White_Space.
inline constexpr std::string_view kGpt2Pattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

class WordSplitter {
 public:
  // `pattern` is in Hugging Face's dialect; `where` opens the message if it is refused (kData).
  WordSplitter(std::string_view pattern, const std::string& where)
      : regex_(oniguruma_to_pcre2(pattern, where), Regex::Mode::kUtf, where), gpt2_(pattern == kGpt2Pattern) {}

  // One per thread.
  class Matcher {
   public:
    explicit Matcher(const WordSplitter& splitter, bool use_scanner = true)
        : regex_(splitter.regex_), scan_(splitter.gpt2_ && use_scanner) {}

    // Calls word(std::string_view) for each word of `text`, in order.
    template <class Word>
    void split(std::string_view text, const Word& word) {
      size_t begin = 0, at = find_invalid_utf8(text).value_or(text.size());
      while (at < text.size()) {
        if (at > begin) split_valid(text.substr(begin, at - begin), word);
        for (begin = at; at < text.size() && utf8_sequence_bytes(text.substr(at)) == 0;) ++at;
        word(text.substr(begin, at - begin));
        begin = at;
        while (at < text.size()) {
          const size_t bytes = utf8_sequence_bytes(text.substr(at));
          if (bytes == 0) break;
          at += bytes;
        }
      }
      split_valid(text.substr(begin), word);
    }

   private:
    template <class Word>
    void split_valid(std::string_view text, const Word& word) {
      size_t at = 0;
      while (at < text.size()) {
        if (scan_) {
          if (const size_t end = scan_gpt2_ascii_word(text, at)) {
            word(text.substr(at, end - at));
            at = end;
            continue;
          }
        }
        size_t begin = text.size(), end = text.size();
        regex_.find(text, at, begin, end);
        if (begin > at) word(text.substr(at, begin - at));
        if (end > begin) word(text.substr(begin, end - begin));
        at = end;
      }
    }

    RegexMatcher regex_;
    bool scan_;
  };

 private:
  Regex regex_;
  bool gpt2_;
};

}  // namespace troupe
