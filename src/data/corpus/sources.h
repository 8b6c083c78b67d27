// The list of corpus sources (sources.inc) as data.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "data/corpus/rules.h"

namespace troupe::corpus {

struct Source {
  std::string_view corpus, package, domain;
  Split side;  // kTrain or kHeldOut
  std::string_view parser, paths;
};

struct Corpus {
  std::string_view name, summary;
  std::vector<Source> sources;
  std::vector<std::string> packages() const;  // each once, sorted; may contain *
};

std::vector<Corpus> corpora();
Corpus find_corpus(std::string_view name);  // throws Error(kUsage) naming the nearest

// Does a path match a row's patterns?
bool path_matches(std::string_view patterns, const std::string& path);

}  // namespace troupe::corpus
