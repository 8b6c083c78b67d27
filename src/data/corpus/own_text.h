// A corpus of users' own text: files and folders, a domain each -> documents -> rules -> the folder that build.h
// describes, without copyright/.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "data/corpus/build.h"
#include "data/corpus/rules.h"
#include "data/text/reader.h"

namespace troupe::corpus {

struct OwnDomain {
  std::string name;  // check_folder_name()
  std::string path;  // as for_each_document() takes it
  Split side = Split::kTrain;  // or kHeldOut
};

struct OwnTextOptions {
  std::filesystem::path out;
  std::vector<OwnDomain> domains;
  TextOptions text;
  RuleOptions rules{.validation = Validation::kByHash, .valid_share = 0.01};
  bool force = false;  // replace a corpus that is there
};

// A document is training or validation by its text alone: more files or other domains move none, though one may go
// because another holds the same text. Throws Error: kUsage (names, `out` is there, a share that leaves a domain
// without validation), kData (damaged text, a domain of which nothing is left), kEnvironment (disk, another writer).
BuildResult build_own_text(const OwnTextOptions& options);

// Is this the folder of such a corpus?
bool holds_own_text(const std::filesystem::path& folder);

}  // namespace troupe::corpus
