#include "study/grid/sample.h"

#include <algorithm>
#include <numeric>
#include <utility>
#include <vector>

#include "base/rng.h"

namespace troupe {

EvalText fixed_documents(const EvalText& all, int64_t max_tokens, const Tokenizer& tokenizer) {
  constexpr uint64_t kKey = 0x5d0c5;  // the same documents for everybody
  if (max_tokens <= 0 || all.tokens() <= max_tokens) return all;
  std::vector<std::pair<uint64_t, size_t>> drawn;
  for (size_t document = 0; document + 1 < all.begin.size(); ++document)
    drawn.emplace_back(mix_key(kKey, document), document);
  std::sort(drawn.begin(), drawn.end());
  std::vector<std::pair<size_t, int64_t>> taken;  // document, tokens of it
  int64_t left = max_tokens;
  for (const auto& [hash, document] : drawn) {
    if (left == 0) break;
    const int64_t tokens = std::min(left, all.begin[document + 1] - all.begin[document]);
    taken.emplace_back(document, tokens), left -= tokens;
  }
  std::sort(taken.begin(), taken.end());
  EvalText text{.name = all.name, .ids = {}, .document_bytes = {}};
  for (const auto& [document, tokens] : taken) {
    const auto first = all.ids.begin() + all.begin[document];
    text.ids.insert(text.ids.end(), first, first + tokens);
    text.begin.push_back(text.tokens());
    if (all.document_bytes.empty()) continue;
    const bool whole = all.begin[document] + tokens == all.begin[document + 1];
    text.document_bytes.push_back(
        whole ? all.document_bytes[document]
              : std::accumulate(first, first + tokens, int64_t{0}, [&](int64_t sum, int32_t id) {
                  return sum + static_cast<int64_t>(tokenizer.token_bytes(id).size());
                }));
  }
  return text;
}

EvalText cut_into_pieces(EvalText text) {
  if (text.documents() >= kFewDocuments) return text;
  std::vector<int64_t> begin = {0}, bytes;
  for (size_t document = 0; document + 1 < text.begin.size(); ++document)
    for (int64_t at = text.begin[document]; at < text.begin[document + 1]; at = begin.back()) {
      begin.push_back(std::min(at + kPieceTokens, text.begin[document + 1]));
      if (!text.document_bytes.empty()) bytes.push_back(at == text.begin[document] ? text.document_bytes[document] : 0);
    }
  text.begin = std::move(begin), text.document_bytes = std::move(bytes);
  return text;
}

}  // namespace troupe
