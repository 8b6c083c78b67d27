// Trains a byte-level BPE tokenizer on text. The result depends on the multiset of texts and the options alone: not on
// the number of threads, nor on the order of the texts.
//
//   BpeTrainer trainer({.vocab_size = 4096});
//   trainer.add(text);                     // once per document
//   Tokenizer tokenizer = trainer.finish();
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string_view>

#include "data/tokenizer/tokenizer.h"

namespace troupe {

struct BpeTrainerOptions {
  int64_t vocab_size =
      0;  // <|endoftext|> (id 0), the 256 bytes (1..256, byte_alphabet_order()), merges in order learned
  int64_t min_count = 2;  // a pair that occurs less often is not merged
};

class BpeTrainer {
 public:
  // Throws kUsage if vocab_size is below 257 or beyond kMaxTokenId.
  explicit BpeTrainer(const BpeTrainerOptions& options);
  ~BpeTrainer();
  BpeTrainer(const BpeTrainer&) = delete;
  BpeTrainer& operator=(const BpeTrainer&) = delete;

  // Cuts `text`, any bytes, into the words of GPT-2's pattern and counts them, on all threads.
  void add(std::string_view text);
  // Learns the merges. The vocabulary is smaller than asked for if the text has too few repeated pairs: compare
  // vocab_size(). `progress(symbols)` is called after each merge.
  Tokenizer finish(const std::function<void(int64_t symbols)>& progress = {});

  struct Stats {
    int64_t texts = 0, bytes = 0, words = 0, distinct_words = 0;
  };
  const Stats& stats() const;  // complete after finish()

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace troupe
