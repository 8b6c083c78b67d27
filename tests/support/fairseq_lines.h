// Texts of ids as fairseq reads and scores them.
#pragma once

#include <algorithm>
#include <cstdint>
#include <sstream>
#include <string>
#include <vector>

#include "data/fairseq/dictionary.h"

namespace troupe::test {

// The ids of symbols separated by white space, then </s> (fairseq data/dictionary.py:293-317).
inline std::vector<int32_t> encode_line(const FairseqDictionary& dictionary, const std::string& line) {
  std::vector<int32_t> ids;
  std::istringstream symbols(line);
  for (std::string symbol; symbols >> symbol;) ids.push_back(dictionary.id(symbol));
  ids.push_back(FairseqDictionary::kEos);
  return ids;
}

// What fairseq's hub scores for a text (tasks/language_modeling.py:268-311, data/strip_token_dataset.py): </s> at both
// ends is stripped. The input is then </s> and all n tokens; the first n predictions are the scores, but the last token
// is routed like the others and so counts for an expert's capacity.
inline std::vector<int32_t> strip_eos(std::vector<int32_t> ids) {
  const auto is_eos = [](int32_t id) { return id == FairseqDictionary::kEos; };
  ids.erase(std::find_if_not(ids.rbegin(), ids.rend(), is_eos).base(), ids.end());
  ids.erase(ids.begin(), std::find_if_not(ids.begin(), ids.end(), is_eos));
  return ids;
}

}  // namespace troupe::test
