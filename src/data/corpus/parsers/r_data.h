// R's lazy-load database: a run of [u32 big-endian raw length][zlib], each an R serialization stream in XDR form.
// Format: R Internals, section 1.8 "Serialization Formats".
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace troupe::corpus {

// The character vector (STRSXP) of one XDR stream; NA becomes "". Other types throw Error(kData).
std::vector<std::string> read_r_strings(std::string_view xdr);

// Every object of a .rdb file, decompressed.
std::vector<std::string> read_r_database(std::string_view bytes);

}  // namespace troupe::corpus
