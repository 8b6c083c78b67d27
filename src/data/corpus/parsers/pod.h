// Perl's Plain Old Documentation (perlpod(1)) as text.
#pragma once

#include <string>
#include <string_view>

#include "data/corpus/parsers/parser.h"

namespace troupe::corpus {

// Headings and paragraphs, verbatim ones as they are; index entries, code between =cut and the next command, and what
// is meant for other formats go. Any bytes are accepted.
std::string pod_to_text(std::string_view pod);

// Every =head2 and what follows it as a document of its own: perlfaq's questions.
void split_pod_questions(std::string_view pod, const Emit& emit);

}  // namespace troupe::corpus
