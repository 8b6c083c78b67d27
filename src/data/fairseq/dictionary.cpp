#include "data/fairseq/dictionary.h"

#include <algorithm>
#include <array>
#include <charconv>

#include "base/error.h"
#include "io/atomic_file.h"

namespace troupe {
namespace {

constexpr std::string_view kOverwrite = " #fairseq:overwrite";

}  // namespace

FairseqDictionary FairseqDictionary::parse(std::string_view text, const std::string& where) {
  FairseqDictionary dictionary;
  for (int32_t id : {kBos, kPad, kEos, kUnknown})
    dictionary.ids_.emplace(std::array<const char*, 4>{"<s>", "<pad>", "</s>", "<unk>"}[static_cast<size_t>(id)], id);
  int64_t number = 0;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    ++number;
    if (line.ends_with('\r')) line.remove_suffix(1);
    const bool overwrite = line.ends_with(kOverwrite);
    if (overwrite) line.remove_suffix(kOverwrite.size());
    const size_t space = line.rfind(' ');
    int64_t count = 0;
    const char* last = line.data() + line.size();
    if (space == line.npos || space == 0 || std::from_chars(line.data() + space + 1, last, count).ptr != last ||
        space + 1 == line.size())
      fail(ErrorCode::kData, "{}:{}: expected `SYMBOL COUNT`, got {}", where, number, line);
    std::string symbol(line.substr(0, space));
    const int32_t id = kFirst + static_cast<int32_t>(dictionary.symbols_.size());
    if (!dictionary.ids_.emplace(symbol, id).second) {
      if (!overwrite) fail(ErrorCode::kData, "{}:{}: expected every symbol once, got {} again", where, number, symbol);
      dictionary.ids_[symbol] = id;
    }
    dictionary.symbols_.push_back(std::move(symbol));
  }
  return dictionary;
}

FairseqDictionary FairseqDictionary::load(const std::filesystem::path& path) {
  return parse(read_file(path), path.string());
}

int32_t FairseqDictionary::id(std::string_view symbol) const {
  const auto found = ids_.find(std::string(symbol));
  return found == ids_.end() ? kUnknown : found->second;
}

}  // namespace troupe
