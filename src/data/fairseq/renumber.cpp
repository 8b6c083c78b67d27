#include "data/fairseq/renumber.h"

#include <charconv>

#include "base/error.h"

namespace troupe {

TokenizerDefinition renumber(const TokenizerDefinition& gpt2, const FairseqDictionary& dictionary,
                             const std::string& where) {
  using Kind = TokenizerDefinition::Kind;
  TokenizerDefinition made = gpt2;
  made.added.clear();
  const std::vector<std::string>& symbols = dictionary.symbols();
  made.tokens.assign(static_cast<size_t>(dictionary.size()), {});
  for (const auto& [id, content] : {std::pair(0, "<s>"), {1, "<pad>"}, {2, "</s>"}, {3, "<unk>"}}) {
    made.tokens[static_cast<size_t>(id)] = {Kind::kAddedOnly, content};
    made.added.push_back({.content = content, .id = id, .special = true});
  }
  std::vector<int32_t> new_id(gpt2.tokens.size(), -1);
  for (size_t k = 0; k < symbols.size(); ++k) {
    const std::string& symbol = symbols[k];
    size_t old = 0;
    const auto [rest, error] = std::from_chars(symbol.data(), symbol.data() + symbol.size(), old);
    if (error != std::errc() || rest != symbol.data() + symbol.size() || old >= gpt2.tokens.size()) continue;
    const size_t id = k + FairseqDictionary::kFirst;
    // fairseq looks up the plain number: "007" is none, and of a symbol that was overwritten the last counts.
    if (symbol != std::to_string(old) || dictionary.id(symbol) != static_cast<int32_t>(id)) continue;
    new_id[old] = static_cast<int32_t>(id);
    made.tokens[id] = gpt2.tokens[old];
  }
  int64_t missing = 0, first = -1;
  const auto renumbered = [&](int32_t old) {
    const int32_t id = old < 0 ? -1 : new_id[static_cast<size_t>(old)];
    if (id < 0 && missing++ == 0) first = old;
    return id;
  };
  for (int32_t& id : made.byte_ids) id = renumbered(id);
  for (Merge& merge : made.merges) {
    merge.left = new_id[static_cast<size_t>(merge.left)];
    merge.right = new_id[static_cast<size_t>(merge.right)];
    merge.result = renumbered(merge.result);
  }
  if (missing > 0)
    fail(ErrorCode::kData, "{}: expected a line for every token of GPT-2's BPE, got none for {} of them, {} the first",
         where, missing, first);
  return made;
}

}  // namespace troupe
