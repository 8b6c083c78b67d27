// What a tokenizer does to text before it looks for words: steps in order, each as Hugging Face tokenizers does it.
// Bytes that are not UTF-8 stay as they are.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace troupe {

struct Normalizer {
  enum class Kind {
    kNfc,      // Normalization Form C (Unicode 15)
    kPrepend,  // `to` goes before a text that is not empty
    kReplace,  // every `from`, from left to right, becomes `to`
  };
  Kind kind = Kind::kNfc;
  std::string from, to;
};

// The text itself where nothing changes, otherwise what `storage` then holds.
std::string_view normalize(const std::vector<Normalizer>& steps, std::string_view text, std::string& storage);

}  // namespace troupe
