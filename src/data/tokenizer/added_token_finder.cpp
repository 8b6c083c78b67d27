#include "data/tokenizer/added_token_finder.h"

#include "data/tokenizer/white_space.h"

namespace troupe {

AddedTokenFinder::AddedTokenFinder(const std::vector<AddedToken>& tokens, std::vector<Normalizer> normalizers)
    : tokens_(tokens), normalizers_(std::move(normalizers)) {
  std::string storage;
  for (size_t i = tokens.size(); i-- > 0;) {  // of equal ones the first counts
    const AddedToken& token = tokens[i];
    const std::string_view content =
        token.normalized ? normalize(normalizers_, token.content, storage) : std::string_view(token.content);
    if (content.empty()) continue;
    Pass& pass = passes_[token.normalized];
    pass.contents.add(content, static_cast<int32_t>(i));
    pass.begins[static_cast<uint8_t>(content[0])] = true;
  }
}

bool AddedTokenFinder::Matcher::find(size_t pass, std::string_view whole, size_t& from, size_t done, Match& match) {
  const auto& [contents, begins] = tokens_.passes_[pass];
  if (contents.empty()) return false;
  int32_t found = -1;
  for (match.begin = from; match.begin < whole.size(); ++match.begin) {
    if (!begins[static_cast<uint8_t>(whole[match.begin])]) continue;
    int32_t node = ByteTrie::kRoot;
    for (size_t at = match.begin; at < whole.size() && (node = contents.step(node, whole[at])) >= 0; ++at)
      if (const int32_t value = contents.value(node); value >= 0) found = value, match.end = at + 1;
    if (found >= 0) break;
  }
  if (found < 0) return false;
  const AddedToken& token = tokens_.tokens_[static_cast<size_t>(found)];
  match.id = token.id;
  from = match.end;
  if (token.lstrip && match.begin > done) match.begin -= trailing_white_space(whole.substr(done, match.begin - done));
  if (token.rstrip) match.end += leading_white_space(whole.substr(match.end));
  return true;
}

}  // namespace troupe
