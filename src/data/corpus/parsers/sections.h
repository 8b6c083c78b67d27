// Plain text cut into documents: at separator lines, at headings, at underlined titles.
#pragma once

#include <string_view>

#include "data/corpus/parsers/parser.h"

namespace troupe::corpus {

// Records between lines equal to `separator`. Lines that begin with `comment` (if not '\0') are left out.
void split_records(std::string_view text, std::string_view separator, char comment, const Emit& emit);

// A document starts at every line for which is_heading(line, next line) holds; what precedes the first is one too.
using IsHeading = bool (*)(std::string_view line, std::string_view next);
void split_at_headings(std::string_view text, IsHeading is_heading, const Emit& emit);

bool is_chapter_heading(std::string_view line, std::string_view next);   // "CHAPTER IV"
bool is_numbered_heading(std::string_view line, std::string_view next);  // Markdown: "## A.1.2 Title"
bool is_release_heading(std::string_view line, std::string_view next);   // "Name 0.28.0 (20220203)" over dashes
bool is_outline_heading(std::string_view line, std::string_view next);   // "2.1: Title"
bool is_star_heading(std::string_view line, std::string_view next);      // "* Title", of Emacs' outline mode
bool is_part_heading(std::string_view line, std::string_view next);      // "_PART I._", "_PROP._ I."

// Markdown as prose: links keep their text, emphasis marks, rules and heading marks go.
std::string markdown_to_text(std::string_view markdown);

}  // namespace troupe::corpus
