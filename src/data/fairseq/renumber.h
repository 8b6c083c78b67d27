// A tokenizer for models of fairseq: with GPT-2's BPE the symbols of its dictionary are GPT-2's ids in decimal, in
// order of frequency, so a model's ids are another numbering of the same tokens.
#pragma once

#include <string>

#include "data/fairseq/dictionary.h"
#include "data/tokenizer/definition.h"

namespace troupe {

// GPT-2's tokenizer with the ids of the dictionary and fairseq's four special tokens. Symbols that are no GPT-2 ids
// ("madeupword0000") get no token. Throws kData if a token of GPT-2 that text can produce is missing from the
// dictionary, as fairseq would make it <unk>, which a tokenizer.json of this kind cannot say.
TokenizerDefinition renumber(const TokenizerDefinition& gpt2, const FairseqDictionary& dictionary,
                             const std::string& where);

}  // namespace troupe
