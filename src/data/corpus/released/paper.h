// The training data of Artetxe et al. (2021) from released sets that users have: a stream of documents to
// OUT/train/DOMAIN.jsonl and OUT/valid/DOMAIN.jsonl, with a manifest as build.h says. The paper took the union of its
// sets as they are, so nothing is deduplicated; a document is validation by a hash of its text, at one rate for all
// sets: in proportion to their sizes, and no text is on both sides.
#pragma once

#include <cstdint>
#include <filesystem>

#include "data/corpus/build.h"

namespace troupe::corpus {

inline constexpr const char* kPaperCorpus = "paper";
inline constexpr double kPaperValidShare = 0.15 / 453;  // 150 MB of 453 GB

struct PaperOptions {
  std::filesystem::path out, from;
  double valid_share = kPaperValidShare;
  int64_t take_bytes = 0;  // so much text in all, each set its share in the paper, from its start; 0: everything
  bool force = false;      // replace a corpus that is there
};

// Sets that are not in `from` are named in the log and in the manifest. Throws Error: kUsage (`out` is there, `from`
// is no folder or has no set), kData (a damaged file, by name), kEnvironment (disk, another writer).
BuildResult build_paper(const PaperOptions& options);

}  // namespace troupe::corpus
