// dictd dictionaries (dictfmt(1)): an index of "word TAB offset TAB length", numbers in base 64, into a text.
#pragma once

#include <string_view>

#include "data/corpus/parsers/parser.h"

namespace troupe::corpus {

// One document per distinct (offset, length), in the order of the text; entries about the dictionary (00-*) are left
// out, and cross-references lose their braces. Throws Error(kData) naming the line of the index.
void parse_dictd(std::string_view index, std::string_view text, const Emit& emit);

// An entry of the GNU Collaborative International Dictionary without the marks that every one has: the headword's
// division into syllables (\Re*flec"tion\) and whose text it is ([1913 Webster]).
std::string without_gcide_marks(std::string_view entry);

}  // namespace troupe::corpus
