// How fast a tokenizer encodes, decodes and is trained on given texts, on one thread: bytes per second
// of its processor time, which other programs on the machine disturb less than they disturb the clock.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "data/tokenizer/tokenizer.h"

namespace troupe::cli {

struct TokenizerSpeed {
  int64_t bytes = 0, tokens = 0;       // of the texts
  double encode_bytes_per_s = 0;       // median over passes after one that fills the cache of words
  double encode_best_bytes_per_s = 0;  // the fastest pass
  double decode_bytes_per_s = 0;       // median
  double train_bytes_per_s = 0;        // one training of `train_vocab_size` on the texts
};

// Takes about `seconds` for encoding, as much for decoding, and one training (none if train_vocab_size is 0).
// Throws kInternal if decoding does not give the texts back.
TokenizerSpeed measure_tokenizer(const Tokenizer& tokenizer, std::span<const std::string> texts, double seconds = 2.0,
                                 int64_t train_vocab_size = 4096);

}  // namespace troupe::cli
