// WordNet's data.noun, data.verb, data.adj and data.adv (wndb(5WN)): a line per set of synonyms.
#pragma once

#include <string_view>

#include "data/corpus/parsers/parser.h"

namespace troupe::corpus {

// A document per line: "meliorate, better (verb): get better; ...". Throws Error(kData) naming the line.
void parse_wordnet(std::string_view data, const Emit& emit);

}  // namespace troupe::corpus
