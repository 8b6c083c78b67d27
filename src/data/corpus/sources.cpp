#include "data/corpus/sources.h"

#include <fnmatch.h>

#include <set>

#include "base/error.h"
#include "base/nearest.h"

namespace troupe::corpus {
namespace {

constexpr Split kTrain = Split::kTrain, kHeldOut = Split::kHeldOut;

constexpr Source kSources[] = {
#define TROUPE_SOURCE(corpus, package, domain, side, parser, paths) {corpus, package, domain, side, parser, paths},
#include "data/corpus/sources.inc"
#undef TROUPE_SOURCE
};

constexpr std::string_view kEveryPackage = "*";

struct CorpusRow {
  std::string_view name, summary;
  int64_t max_heldout_bytes;
};
constexpr CorpusRow kCorpora[] = {
    {"quickstart", "six training and two held-out domains from nine packages, 25 MB to download", 0},
    {"full", "six training and fifteen held-out domains from 101 packages, 1.0 GB to download", 8'000'000},
};

}  // namespace

std::vector<std::string> Corpus::packages() const {
  std::set<std::string> names;
  for (const Source& source : sources)
    if (source.package != kEveryPackage) names.emplace(source.package);
  return {names.begin(), names.end()};
}

std::vector<Corpus> corpora() {
  std::vector<Corpus> list;
  for (const CorpusRow& row : kCorpora) {
    Corpus corpus{row.name, row.summary, row.max_heldout_bytes, {}};
    for (const Source& source : kSources)
      if (source.corpus == row.name) corpus.sources.push_back(source);
    list.push_back(std::move(corpus));
  }
  return list;
}

Corpus find_corpus(std::string_view name) {
  std::vector<std::string> names;
  for (Corpus& corpus : corpora()) {
    if (corpus.name == name) return std::move(corpus);
    names.emplace_back(corpus.name);
  }
  fail(ErrorCode::kUsage, "corpus: expected a name that `troupe corpus list` prints, got {} (did you mean {}?)", name,
       nearest(name, names));
}

bool reads_package(const Source& source, std::string_view package) {
  return source.package == package || source.package == kEveryPackage;
}

bool path_matches(std::string_view patterns, const std::string& path) {
  bool matches = false;
  while (!patterns.empty()) {
    const size_t blank = patterns.find(' ');
    std::string pattern(patterns.substr(0, blank));
    patterns.remove_prefix(blank == std::string_view::npos ? patterns.size() : blank + 1);
    const bool takes_away = pattern.starts_with('!');
    if (takes_away) pattern.erase(0, 1);
    if (fnmatch(pattern.c_str(), path.c_str(), 0) == 0) matches = !takes_away;
  }
  return matches;
}

}  // namespace troupe::corpus
