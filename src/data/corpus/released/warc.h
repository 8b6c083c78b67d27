// Web archives (WARC, ISO 28500): records of news sites.
#pragma once

#include <string>
#include <string_view>

#include "data/corpus/released/visit.h"
#include "data/text/byte_source.h"

namespace troupe::corpus {

// The text of every record with a page ("response" with HTML) or with text ("conversion"); other records are passed
// over. Throws Error(kData) naming the record.
void read_warc(ByteSource& warc, const TextVisitor& visit);

// Of a page's lines those that read like prose: of 8 words or more, the last one with its full stop. Headings, menus
// and bylines go.
std::string prose_of_page(std::string_view text);

}  // namespace troupe::corpus
