// Wikipedia's dumps (pages-articles XML) as plain text, good enough for language modelling.
#pragma once

#include <string>
#include <string_view>

#include "data/corpus/released/visit.h"
#include "data/text/byte_source.h"

namespace troupe::corpus {

// The words of wiki markup: templates, tables, references, files, categories and comments go, links and emphasis keep
// their text, headings are lines. Any bytes are accepted.
std::string wikitext_to_text(std::string_view wikitext);

// A document per article of the main namespace, under its title; redirects go. Throws Error(kData) naming the line
// where the XML is damaged.
void read_wikipedia(ByteSource& xml, const TextVisitor& visit);

}  // namespace troupe::corpus
