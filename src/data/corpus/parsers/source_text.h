// Text that is written for programs, as it is: source code, TeX, Metamath, licences in Perl.
#pragma once

#include <string_view>

#include "data/corpus/parsers/parser.h"

namespace troupe::corpus {

inline constexpr size_t kMaxSourceBytes = 100'000;  // more than this is a table that a program wrote

// The file, if it has at most kMaxSourceBytes.
void parse_source(std::string_view source, const Emit& emit);

// The C files of a compressed tar archive, as parse_source() takes them.
void parse_source_archive(std::string_view archive, const Emit& emit);

// A document per (sub)section of TeX, commands and all; comments go.
void split_tex(std::string_view tex, const Emit& emit);

// A document per statement of Metamath (metamath.pdf, section 4.1): the comment before $a or $p, label and formula.
void parse_metamath(std::string_view database, const Emit& emit);

// The text after __LICENSE__ of a module of Software::License.
void parse_perl_license(std::string_view module, const Emit& emit);

}  // namespace troupe::corpus
