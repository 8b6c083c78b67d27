// The one rule for names that become folders or files: models of a study, domains of a corpus.
#pragma once

#include <string_view>

#include "troupe/error.h"

namespace troupe {

// Throws `code`: "WHERE: expected a name that a folder can have (...), got "../x"" unless `name` is UTF-8 of 1 to 200
// bytes without "/", "=" (entries are NAME=FOLDER), control characters, or white space at either end, and not "." or
// "..".
void check_folder_name(std::string_view name, ErrorCode code, std::string_view where);

}  // namespace troupe
