// fairseq's dict.txt: which id a symbol has (fairseq data/dictionary.py:31-41, 218-261). Ids 0 to 3 are <s>, <pad>,
// </s> and <unk>; the symbol on line k (from 0) is k + 4. With GPT-2's BPE the symbols are its ids in decimal.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace troupe {

class FairseqDictionary {
 public:
  static constexpr int32_t kBos = 0, kPad = 1, kEos = 2, kUnknown = 3, kFirst = 4;

  // Lines are `SYMBOL COUNT`, cut at the last space. Throws kData naming the line: no count, a symbol twice (unless its
  // count is followed by fairseq's "#fairseq:overwrite").
  static FairseqDictionary load(const std::filesystem::path& path);
  static FairseqDictionary parse(std::string_view text, const std::string& where);

  int32_t id(std::string_view symbol) const;  // kUnknown if there is none
  int64_t size() const { return static_cast<int64_t>(symbols_.size()) + kFirst; }
  const std::vector<std::string>& symbols() const { return symbols_; }  // of ids from kFirst

 private:
  std::vector<std::string> symbols_;
  std::unordered_map<std::string, int32_t> ids_;
};

}  // namespace troupe
