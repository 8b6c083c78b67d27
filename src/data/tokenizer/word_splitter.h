// Cuts text with a pattern, so that the pieces concatenated are the text, whatever its bytes (but for kRemoved):
//   1. Text is cut into maximal runs that are well-formed UTF-8 and runs that are not.
//   2. A run that is not well-formed is one piece.
//   3. A well-formed run is matched from left to right with the pattern, as if it were the whole text; what becomes of
//      matches and of what lies between two of them, SplitBehavior says.
// PCRE2 is the specification. For GPT-2's pattern a scanner serves the words made of ASCII alone (ascii_scanner.h).
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "data/tokenizer/ascii_scanner.h"
#include "data/tokenizer/oniguruma.h"
#include "data/tokenizer/regex.h"
#include "data/tokenizer/utf8_runs.h"

namespace troupe {

// GPT-2's pattern (Radford et al. 2019, encoder.py). \s is Unicode's White_Space.
inline constexpr std::string_view kGpt2Pattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

// As Hugging Face tokenizers has them; matches and the gaps between them alternate.
enum class SplitBehavior {
  kIsolated,            // each match and each gap is a piece
  kRemoved,             // gaps are pieces, matches are dropped
  kMergedWithPrevious,  // a match ends the piece before it
  kMergedWithNext,      // ... or begins the next one
  kContiguous,          // as isolated, but matches side by side are one piece
};

class WordSplitter {
 public:
  struct Options {
    SplitBehavior behavior = SplitBehavior::kIsolated;
    bool invert = false;   // gaps are taken for matches and matches for gaps
    bool literal = false;  // the pattern is a text
    bool operator==(const Options&) const = default;
  };

  // `pattern` is in Hugging Face's dialect; `where` opens the message if it is refused (kData).
  WordSplitter(std::string_view pattern, const std::string& where) : WordSplitter(pattern, where, Options{}) {}
  WordSplitter(std::string_view pattern, const std::string& where, Options options)
      : regex_(options.literal ? literal_to_pcre2(pattern) : oniguruma_to_pcre2(pattern, where), Regex::Mode::kUtf,
               where),
        options_(options),
        gpt2_(pattern == kGpt2Pattern && !options.literal) {}

  // One per thread.
  class Matcher {
   public:
    explicit Matcher(const WordSplitter& splitter, bool use_scanner = true)
        : regex_(splitter.regex_), options_(splitter.options_), scan_(splitter.gpt2_ && use_scanner) {}

    // Calls word(std::string_view) for each piece of `text`, in order.
    template <class Word>
    void split(std::string_view text, const Word& word) {
      for_each_utf8_run(
          text,
          [&](std::string_view run) {
            options_.behavior == SplitBehavior::kIsolated ? isolate(run, word) : behave(run, word);
          },
          word);
    }

   private:
    template <class Word>
    void isolate(std::string_view text, const Word& word) {
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

    template <class Word>
    void behave(std::string_view text, const Word& word) {
      cut(text);
      for (const Part& part : parts_) word(text.substr(part.begin, part.end - part.begin));
    }

    struct Part {
      size_t begin, end;
      bool match;
    };
    void cut(std::string_view text);  // fills parts_

    RegexMatcher regex_;
    Options options_;
    bool scan_;
    std::vector<Part> parts_;
  };

 private:
  Regex regex_;
  Options options_;
  bool gpt2_;
};

}  // namespace troupe
