// Plain-text help with a little markup of its own: Vim's help, zim's wiki, Texinfo's info files. Any bytes are
// accepted.
#pragma once

#include <string_view>

#include "data/corpus/parsers/parser.h"

namespace troupe::corpus {

// A document per section between lines of "=====". Targets (*name*) go, links (|name|) lose their bars.
void parse_vim_help(std::string_view help, const Emit& emit);

// One document: headings, emphasis, links and code as their words.
void parse_zim_wiki(std::string_view page, const Emit& emit);

// A document per node, without the line that says where it is, menus, and lines under titles; indexes go.
void parse_info(std::string_view info, const Emit& emit);

}  // namespace troupe::corpus
