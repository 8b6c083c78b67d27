// Building a corpus: archives -> files of packages -> documents -> rules -> a folder of JSON lines with a manifest.
//   OUT/train/DOMAIN.jsonl, OUT/valid/DOMAIN.jsonl, OUT/heldout/DOMAIN.jsonl   {"text": ..., "source": PACKAGE/PATH}
//   OUT/copyright/PACKAGE                                                      licences, as the packages state them
//   OUT/manifest.json                                                          docs/corpus.md lists its fields
// The folder appears whole or not at all.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "data/corpus/rules.h"
#include "data/corpus/sources.h"

namespace troupe::corpus {

struct BuildOptions {
  std::filesystem::path out;
  std::filesystem::path cache;         // where downloads are kept
  std::filesystem::path packages_dir;  // not empty: take the archives from here and download nothing
  bool force = false;                  // build even if `out` already holds this corpus
  RuleOptions rules;
};

// One file of a built corpus.
struct CorpusPart {
  std::string domain;
  Split split = Split::kTrain;
  std::filesystem::path file;  // OUT/train/books.jsonl
  int64_t documents = 0, bytes = 0;
};

struct BuildResult {
  bool already_complete = false;  // nothing was done
  std::vector<CorpusPart> parts;  // splits in order, domains by name
  std::filesystem::path manifest;
};

// Progress goes to the log. Throws Error: kEnvironment (apt, network, disk), kData (an archive or a file in it that is
// not as expected, naming package, file and place), kUsage (`out` is a folder that is no corpus).
BuildResult build_corpus(const Corpus& corpus, const BuildOptions& options);

// The parts of a corpus that was built before, checked against the sizes and checksums in its manifest.
// Throws Error(kData) naming the file that is missing or differs.
std::vector<CorpusPart> read_corpus(const std::filesystem::path& folder);

}  // namespace troupe::corpus
