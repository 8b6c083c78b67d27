#include "data/tokenizer/word_splitter.h"

#include <algorithm>

namespace troupe {

// The words of Hugging Face's NormalizedString::split().
void WordSplitter::Matcher::cut(std::string_view text) {
  parts_.clear();
  for (size_t at = 0; at < text.size();) {
    size_t begin = text.size(), end = text.size();
    regex_.find(text, at, begin, end);
    if (begin > at) parts_.push_back({at, begin, options_.invert});
    if (end > begin) parts_.push_back({begin, end, !options_.invert});
    at = end;
  }
  std::vector<Part> joined;
  bool match = false;  // the part before
  switch (options_.behavior) {
    case SplitBehavior::kIsolated:
      return;
    case SplitBehavior::kRemoved:
      std::erase_if(parts_, [](const Part& part) { return part.match; });
      return;
    case SplitBehavior::kContiguous:
      for (const Part& part : parts_) {
        if (!joined.empty() && part.match == match)
          joined.back().end = part.end;
        else
          joined.push_back(part);
        match = part.match;
      }
      break;
    case SplitBehavior::kMergedWithPrevious:
      for (const Part& part : parts_) {
        if (!joined.empty() && part.match && !match)
          joined.back().end = part.end;
        else
          joined.push_back(part);
        match = part.match;
      }
      break;
    case SplitBehavior::kMergedWithNext:
      std::reverse(parts_.begin(), parts_.end());
      for (const Part& part : parts_) {
        if (!joined.empty() && part.match && !match)
          joined.back().begin = part.begin;
        else
          joined.push_back(part);
        match = part.match;
      }
      std::reverse(joined.begin(), joined.end());
      break;
  }
  parts_ = std::move(joined);
}

}  // namespace troupe
