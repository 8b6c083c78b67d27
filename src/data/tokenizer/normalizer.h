// What a tokenizer does to text before it looks for words: steps in order, each as Hugging Face tokenizers does it.
// Bytes that are not UTF-8 stay as they are.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace troupe {

class Charsmap;
class Regex;

struct Normalizer {
  enum class Kind {
    kNfc,            // Normalization Form C (Unicode 15)
    kNfkc,           // Form KC
    kPrepend,        // `to` goes before a text that is not empty
    kReplace,        // every `from`, from left to right, becomes `to`
    kPattern,        // every match of the pattern `from`, likewise
    kStrip,          // white space at the start and at the end goes, as the two say
    kPrecompiled,    // precompiled_normalized() (charsmap.h)
    kSentencePiece,  // sentencepiece_normalized() (charsmap.h)
  };
  Kind kind = Kind::kNfc;
  std::string from, to;
  std::shared_ptr<const Regex> regex = nullptr;  // of `from`
  bool strips_start = false, strips_end = false;
  std::shared_ptr<const Charsmap> charsmap = nullptr;
  bool removes_spaces = false, dummy_prefix = false;  // kSentencePiece
};

// The text itself where nothing changes, otherwise what `storage` then holds.
std::string_view normalize(const std::vector<Normalizer>& steps, std::string_view text, std::string& storage);

}  // namespace troupe
