// The list of corpus sources (sources.inc) as data.
#pragma once

#include <cstdint>
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
  int64_t max_heldout_bytes = 0;  // of a held-out domain (RuleOptions)
  std::vector<Source> sources;
  std::vector<std::string> packages() const;  // each once, sorted; may contain * between other letters
};

std::vector<Corpus> corpora();
Corpus find_corpus(std::string_view name);  // throws Error(kUsage) naming the nearest

// Does a row read this package, which is named as in another row? "*" reads every package of its corpus.
bool reads_package(const Source& source, std::string_view package);

// Does a path match a row's patterns?
bool path_matches(std::string_view patterns, const std::string& path);

}  // namespace troupe::corpus
