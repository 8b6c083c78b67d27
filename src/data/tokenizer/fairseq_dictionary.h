// fairseq's dict.txt: which token has which id. With GPT-2's BPE its symbols are GPT-2's ids in decimal, in order of
// frequency, so a model's ids are another numbering of the same tokens (fairseq data/dictionary.py:31-41, 218-261).
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "data/tokenizer/definition.h"

namespace troupe {

// Before the symbols of the file: <s> 0, <pad> 1, </s> 2, <unk> 3. Symbol k has id k + 4.
inline constexpr int32_t kFairseqSpecialTokens = 4;

// The symbols in the order of the lines "SYMBOL COUNT". Throws kData "dict.txt:12: ..." for a line without a count or a
// symbol twice.
std::vector<std::string> read_fairseq_dictionary(const std::filesystem::path& path);

// GPT-2's tokenizer with the ids of the dictionary and fairseq's four special tokens. Symbols that are no GPT-2 ids
// ("madeupword0000") get no token. Throws kData if a token of GPT-2 that text can produce is missing from the
// dictionary, as fairseq would make it <unk>, which a tokenizer.json of this kind cannot say.
TokenizerDefinition renumber(const TokenizerDefinition& gpt2, const std::vector<std::string>& symbols,
                             const std::string& where);

}  // namespace troupe
