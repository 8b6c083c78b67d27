#include "data/tokenizer/fairseq_dictionary.h"

#include <charconv>
#include <string_view>
#include <unordered_set>

#include "base/error.h"
#include "io/atomic_file.h"

namespace troupe {

std::vector<std::string> read_fairseq_dictionary(const std::filesystem::path& path) {
  const std::string file = read_file(path);
  std::vector<std::string> symbols;
  std::unordered_set<std::string> seen;
  std::string_view left = file;
  for (int64_t line_number = 1; !left.empty(); ++line_number) {
    const size_t end = left.find('\n');
    std::string_view line = left.substr(0, end);
    left.remove_prefix(end == left.npos ? left.size() : end + 1);
    if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
    const size_t space = line.rfind(' ');
    const std::string_view count = space == line.npos ? std::string_view() : line.substr(space + 1);
    int64_t number = 0;
    const auto [rest, error] = std::from_chars(count.data(), count.data() + count.size(), number);
    if (space == 0 || count.empty() || error != std::errc() || rest != count.data() + count.size())
      fail(ErrorCode::kData, "{}:{}: expected a symbol and its count, got \"{}\"", path.string(), line_number, line);
    symbols.emplace_back(line.substr(0, space));
    if (!seen.insert(symbols.back()).second)
      fail(ErrorCode::kData, "{}:{}: expected each symbol once, got {} again", path.string(), line_number,
           symbols.back());
  }
  return symbols;
}

TokenizerDefinition renumber(const TokenizerDefinition& gpt2, const std::vector<std::string>& symbols,
                             const std::string& where) {
  using Kind = TokenizerDefinition::Kind;
  TokenizerDefinition made = gpt2;
  made.added.clear();
  made.tokens.assign(symbols.size() + kFairseqSpecialTokens, {});
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
    const size_t id = k + kFairseqSpecialTokens;
    if (new_id[old] >= 0) continue;  // "007" beside "7": the first, as fairseq looks up the plain number
    new_id[old] = static_cast<int32_t>(id);
    made.tokens[id] = gpt2.tokens[old];
  }
  int64_t missing = 0, first = -1;
  const auto renumbered = [&](int32_t old) {
    const int32_t id = new_id[static_cast<size_t>(old)];
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
