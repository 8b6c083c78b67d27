// Debian packages as files: found or downloaded, checked, read. Downloads need apt-get; nothing is installed.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "data/text/archive.h"

namespace troupe::corpus {

struct Archive {
  std::string pattern;           // as in sources.inc
  std::string package, version;  // as the archive itself says
  std::filesystem::path file;
  std::string sha256;
  uint64_t bytes = 0;
};

// Downloads with `apt-get download` what is not in `cache` yet; an archive there counts if it has the size and SHA-256
// that apt announces. Throws Error(kEnvironment) if apt is missing, does not know a package (its lists may be empty),
// or cannot reach the network.
std::vector<Archive> download_archives(const std::vector<std::string>& packages, const std::filesystem::path& cache);

// Takes the .deb files in `folder`. Throws Error(kData) naming every package that is missing, or of which there are
// two.
std::vector<Archive> collect_archives(const std::vector<std::string>& packages, const std::filesystem::path& folder);

// Visits the files that the package installs. Throws Error(kData) naming the archive and the file in it.
void for_each_file(const Archive& archive, const MemberVisitor& visit);

}  // namespace troupe::corpus
