// Any bytes as text: a tokenizer trained on them gives them back, the scanner cuts them like PCRE2, and the ids do not
// depend on what was encoded before.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "data/tokenizer/bpe_trainer.h"
#include "data/tokenizer/word_splitter.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  troupe::BpeTrainer trainer({.vocab_size = 300});
  trainer.add(text);
  const troupe::Tokenizer tokenizer = trainer.finish();
  const std::vector<int32_t> ids = tokenizer.encode(text);
  if (tokenizer.decode(ids) != text || tokenizer.encode(text) != ids) std::abort();

  static const troupe::WordSplitter splitter(troupe::kGpt2Pattern, "fuzz");
  static troupe::WordSplitter::Matcher fast(splitter), plain(splitter, false);
  const auto cut = [&](troupe::WordSplitter::Matcher& matcher) {
    std::vector<std::string> words;
    matcher.split(text, [&](std::string_view word) { words.emplace_back(word); });
    return words;
  };
  if (cut(fast) != cut(plain)) std::abort();
  return 0;
}
