#include "data/tokenizer/added_token_finder.h"

#include <algorithm>

#include "data/tokenizer/white_space.h"

namespace troupe {

AddedTokenFinder::AddedTokenFinder(const std::vector<AddedToken>& tokens, const std::string& where,
                                   std::vector<Normalizer> normalizers)
    : normalizers_(std::move(normalizers)) {
  std::string storage;
  for (const AddedToken& token : tokens)
    by_content_[token.normalized].emplace(
        token.normalized ? normalize(normalizers_, token.content, storage) : token.content, token);
  for (const bool normalized : {false, true}) {
    std::vector<std::string_view> contents;
    for (const auto& [content, token] : by_content_[normalized]) contents.push_back(content);
    if (contents.empty()) continue;
    // Alternatives are tried in order, so the longest comes first.
    std::sort(contents.begin(), contents.end(),
              [](auto a, auto b) { return std::pair(b.size(), a) < std::pair(a.size(), b); });
    std::string pattern;
    for (const std::string_view content : contents) {
      if (!pattern.empty()) pattern += '|';
      for (const char byte : content) pattern += fmt::format("\\x{:02x}", static_cast<uint8_t>(byte));
    }
    passes_[normalized] = std::make_unique<Regex>(pattern, Regex::Mode::kBytes, where + ": added_tokens");
  }
}

AddedTokenFinder::Matcher::Matcher(const AddedTokenFinder& tokens) : tokens_(tokens) {
  for (size_t pass = 0; pass < 2; ++pass)
    if (tokens.passes_[pass]) matchers_[pass] = std::make_unique<RegexMatcher>(*tokens.passes_[pass]);
}

bool AddedTokenFinder::Matcher::find(size_t pass, std::string_view whole, size_t& from, size_t done, Match& match) {
  if (!matchers_[pass] || !matchers_[pass]->find(whole, from, match.begin, match.end)) return false;
  const AddedToken& token =
      tokens_.by_content_[pass].find(std::string(whole.substr(match.begin, match.end - match.begin)))->second;
  match.id = token.id;
  from = match.end;
  if (token.lstrip && match.begin > done) match.begin -= trailing_white_space(whole.substr(done, match.begin - done));
  if (token.rstrip) match.end += leading_white_space(whole.substr(match.end));
  return true;
}

}  // namespace troupe
