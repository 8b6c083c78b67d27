// Which documents of a domain every run of a grid is scored on, and the units that its uncertainty is about.
#pragma once

#include <cstdint>

#include "data/tokenizer/tokenizer.h"
#include "eval/eval_text.h"

namespace troupe {

// Documents drawn by a hash of their number, so that they come from all over the domain, until there are max_tokens
// (0: all); the last one drawn is cut there. Their order stays that of the domain.
EvalText fixed_documents(const EvalText& all, int64_t max_tokens, const Tokenizer& tokenizer);

// Documents depend on each other less than tokens do, but a few say little of what others would: a text with fewer than
// kFewDocuments is taken in pieces of at most kPieceTokens. Scores of tokens stay what they are: only `begin` changes
// (and the bytes of a document stand with its first piece).
inline constexpr int64_t kFewDocuments = 50, kPieceTokens = 2048;
EvalText cut_into_pieces(EvalText text);

}  // namespace troupe
