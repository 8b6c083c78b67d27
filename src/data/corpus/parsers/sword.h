// SWORD modules (CrossWire): compressed Bibles, commentaries and dictionaries, their text in OSIS or TEI.
//   zText, zCom   .?zs  blocks: u32 offset, size, raw size      .?zz  the blocks, zlib
//                 .?zv  entries: u32 block, start and u16 or u32 size, so 10 bytes in .bzv and 12 in .czv
//   zLD           .zdx  blocks: u32 offset, size                .zdt  the blocks, zlib: u32 count, (u32 offset,
//   size)...
// All numbers are little-endian. Format: modules/common/zverse.cpp and zstr.cpp of libsword.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "data/corpus/parsers/parser.h"

namespace troupe::corpus {

// A document per chapter; what precedes the first of a book is one too. Neighbouring verses that share an entry have it
// once. `entry_bytes` is 10 or 12. Throws Error(kData) naming file and place.
void parse_sword_verses(std::string_view blocks, std::string_view entries, size_t entry_bytes,
                        std::string_view compressed, const Emit& emit);

// A document per entry, under its key.
void parse_sword_dictionary(std::string_view blocks, std::string_view compressed, const Emit& emit);

// The words of OSIS or TEI: notes become a space, titles, paragraphs, lines and items end a line.
std::string osis_to_text(std::string_view osis);

}  // namespace troupe::corpus
