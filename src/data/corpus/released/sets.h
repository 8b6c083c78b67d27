// The six sets of Artetxe et al. (2021) as they are released, found in a folder by their names and read as streams.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "data/corpus/released/visit.h"

namespace troupe::corpus {

struct ReleasedSet {
  std::string_view domain;  // cc_news: also the name of its files
  std::string_view title;   // CC-News
  double gigabytes;         // in the paper's training data
  std::string_view names;   // patterns of files or folders, in lower case
  std::string_view forms;   // what is read of it
};
const std::vector<ReleasedSet>& released_sets();
double released_gigabytes();  // of all

// What of `folder` belongs to a set: files, those in folders too, sorted by path.
std::vector<std::filesystem::path> files_of_set(const ReleasedSet& set, const std::filesystem::path& folder);

// Every document of a file, archives and compressed files (gz, bz2, xz, zst) in it included; `place` is where in the
// file. Returns whether the set has a use for the file: others are not opened. Throws Error(kData) naming the file.
bool read_released_file(const ReleasedSet& set, const std::filesystem::path& file, const TextVisitor& visit);

}  // namespace troupe::corpus
