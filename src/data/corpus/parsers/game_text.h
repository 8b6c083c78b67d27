// What games tell: dialogue, descriptions and stories out of the data files of five of them. Any bytes are accepted but
// for Cataclysm's JSON.
#pragma once

#include <string_view>

#include "data/corpus/parsers/parser.h"

namespace troupe::corpus {

// Battle for Wesnoth (.cfg): one document of a file: `message`, `story` and `description` in translatable strings, a
// message after its speaker's name.
void parse_wesnoth(std::string_view config, const Emit& emit);

// Endless Sky (.txt): the strings in backticks of every block that begins at the margin, as a document.
void parse_endless_sky(std::string_view data, const Emit& emit);

// Cataclysm: DDA (.json): of every entry the texts, descriptions, lines and responses, as a document. Throws
// Error(kData) for what is no JSON.
void parse_cataclysm(std::string_view json, const Emit& emit);

// Crossfire: one document of a map: what stands between `msg` and `endmsg`, without the map's own heading and without
// the words that a line is an answer to.
void parse_crossfire(std::string_view map, const Emit& emit);

// GearHead (.txt): one document of a file: the strings <...> that people say or read, not those of the script.
void parse_gearhead(std::string_view series, const Emit& emit);

}  // namespace troupe::corpus
