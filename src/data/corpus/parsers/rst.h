// reStructuredText as text.
#pragma once

#include <string>
#include <string_view>

namespace troupe::corpus {

// Titles lose their lines, links and roles keep their text, notes and code their content; comments, contents, images,
// includes, indexes and options of directives go. Any bytes are accepted.
std::string rst_to_text(std::string_view rst);

}  // namespace troupe::corpus
