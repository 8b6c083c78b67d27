// HTML pages as text, by libxml2's forgiving parser.
#pragma once

#include <string>
#include <string_view>

namespace troupe::corpus {

// The text of the body without navigation (nav, header, footer, aside, and the classes that DocBook, Sphinx and
// LibreOffice use for it), scripts and forms. Blocks are separated by line breaks, paragraphs by a blank line; <pre>
// keeps its layout. Pages that declare no encoding are read as UTF-8. Any bytes are accepted.
std::string html_to_text(std::string_view html);

// A page of GNOME's help (Mallard, XML), likewise; what stands in <info> is about the page.
std::string mallard_to_text(std::string_view xml);

}  // namespace troupe::corpus
