// Cuts text into words, the units within which pairs of tokens merge ("pre-tokenisation"): steps in order, each of
// which may rewrite the pieces of the one before and cuts them further.
#pragma once

#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "data/tokenizer/word_splitter.h"

namespace troupe {

inline constexpr std::string_view kMetaspace = "\xE2\x96\x81";  // U+2581, a space in SentencePiece's vocabularies

struct PreTokenizer {
  enum class Kind {
    kByteLevel,   // GPT-2's pattern, unless use_regex is off; a space before a piece without, with add_prefix_space
    kSplit,       // `pattern`
    kDigits,      // digits apart from the rest, each by itself with `individual_digits`
    kMetaspace,   // spaces become U+2581, one goes before the text as `prepend` says; cut before each with `split`
    kWhiteSpace,  // white space goes
  };
  enum class Prepend { kFirst, kAlways, kNever };

  Kind kind = Kind::kByteLevel;
  bool add_prefix_space = false, use_regex = true;
  std::string pattern = {};
  WordSplitter::Options options = {};
  bool individual_digits = false;
  Prepend prepend = Prepend::kAlways;
  bool split = true;
  bool operator==(const PreTokenizer&) const = default;
};

class WordPipeline {
 public:
  // `where` opens the message if a pattern is refused (kData).
  WordPipeline(const std::vector<PreTokenizer>& steps, const std::string& where);

  // One per thread.
  class Matcher {
   public:
    explicit Matcher(const WordPipeline& pipeline);

    // Calls word(std::string_view, end) for each word, in order; `end` is that of the memory around it. `first`: this
    // is where the whole text begins. Words are valid until the next call.
    template <class Word>
    void split(std::string_view text, bool first, const Word& word) {
      texts_.clear();
      if (steps_.empty()) {
        if (!text.empty()) word(text, text.data() + text.size());
        return;
      }
      pieces_.assign(1, Piece{text, text.data() + text.size(), first});
      for (size_t i = 0; i + 1 < steps_.size(); ++i) {
        next_.clear();
        for (const Piece& piece : pieces_) {
          const Piece whole = rewritten(*steps_[i].step, piece);
          steps_[i].cut(whole, [&](std::string_view part) {
            next_.push_back({part, whole.end, whole.first && part.data() == whole.text.data()});
          });
        }
        pieces_.swap(next_);
      }
      for (const Piece& piece : pieces_) {
        const Piece whole = rewritten(*steps_.back().step, piece);
        steps_.back().cut(whole, [&](std::string_view part) { word(part, whole.end); });
      }
    }

   private:
    struct Piece {
      std::string_view text;
      const char* end;  // of the memory around it
      bool first;       // the whole text begins here
    };
    struct Step {
      const PreTokenizer* step;
      std::unique_ptr<WordSplitter::Matcher> matcher;  // null: cuts nothing
      template <class Word>
      void cut(const Piece& piece, const Word& word) const {
        if (matcher)
          matcher->split(piece.text, word);
        else if (!piece.text.empty())
          word(piece.text);
      }
    };
    Piece rewritten(const PreTokenizer& step, const Piece& piece);

    std::vector<Step> steps_;
    std::vector<Piece> pieces_, next_;
    std::deque<std::string> texts_;  // rewritten ones
  };

 private:
  struct Step {
    PreTokenizer step;
    std::unique_ptr<WordSplitter> splitter;  // null: cuts nothing
  };
  std::vector<Step> steps_;  // those that do something
};

}  // namespace troupe
