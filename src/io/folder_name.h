// The one rule for names that become folders or files: models of a study, domains of a corpus.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "troupe/error.h"

namespace troupe {

// Throws `code`: "WHERE: expected a name that a folder can have (...), got "../x"" unless `name` is UTF-8 of 1 to 200
// bytes without "/", "=" (entries are NAME=FOLDER), control characters, white space at either end or a "." at its end
// (which some file systems drop), and no name that the program gives to files of its own: ".tmp-" in it,
// made-from.json, manifest.json.
void check_folder_name(std::string_view name, ErrorCode code, std::string_view where);

// Names that lie in one folder: each once, letter case apart, since file systems differ in whether "A" and "a" are one.
class FolderNames {
 public:
  // check_folder_name(), and throws `code` if the name is there already; `hint` says what to do.
  void add(std::string_view name, ErrorCode code, std::string_view where, std::string_view hint);

 private:
  std::map<std::string, std::string> names_;  // by their lower case
};

}  // namespace troupe
