// The rules that keep held-out text unseen, applied to all documents of a corpus at once (docs/corpus.md):
//   1. exact duplicates go, training text first in line; what a held-out domain has beyond max_heldout_bytes, if set,
//      goes by a hash of the text;
//   2. near-duplicates (Jaccard >= 0.8 over 5-word shingles) go among the documents of the training side;
//   3. validation is chosen from these by a hash of their text, in its order, until a domain has its share. A document
//      of which more than 1 % of the 13-word n-grams stand in any other document is passed over and stays in training;
//   4. a held-out document goes if more than 1 % of its 13-word n-grams stand in a training document.
// Of users' own text (Validation::kByHash) 3. is: validation are the documents with valid_position() below the share,
// whatever else is there, and those go under 4. as held-out ones do; none ever moves to training.
// The result depends on the documents and their order alone, not on the number of threads.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "troupe/fields.h"

namespace troupe::corpus {
enum class Split { kTrain, kValid, kHeldOut };
}
namespace troupe {
template <>
struct EnumNames<corpus::Split> {  // also the folders' names
  static constexpr std::array<std::pair<std::string_view, corpus::Split>, 3> values = {
      {{"train", corpus::Split::kTrain}, {"valid", corpus::Split::kValid}, {"heldout", corpus::Split::kHeldOut}}};
};
}  // namespace troupe

namespace troupe::corpus {

inline constexpr size_t kSplits = EnumNames<Split>::values.size();

struct CorpusDocument {
  std::string text;    // not empty; from packages clean_text() of what the parser gave
  std::string source;  // PACKAGE/PATH; of users' own text FILE:LINE
  std::string domain;
  Split split = Split::kTrain;
};

enum class Validation { kShareOfBytes, kByHash };

struct RuleOptions {
  Validation validation = Validation::kShareOfBytes;
  double valid_share = 0.02;          // of the bytes of a training domain; kByHash: of the documents, about
  int64_t min_valid_bytes = 100'000;  // kShareOfBytes: a small domain gives a larger share to reach this ...
  double max_valid_share = 0.05;      // ... but not more than this one
  int64_t max_heldout_bytes = 0;      // of a domain, 0: all
  double near_duplicate = 0.8;
  int overlap_words = 13;
  double max_overlap = 0.01;
};

struct DomainReport {
  struct Counts {
    int64_t documents = 0, bytes = 0;
  };
  Counts parsed, exact_duplicates, near_duplicates;
  Counts beyond_cap;   // held-out documents that the domain has no room for
  Counts overlapping;  // held-out documents, kByHash also validation, that went because of training text
  Counts passed_over;  // documents that stay in training because they overlap others too much to validate on
  std::array<Counts, kSplits> kept;
  // Of validation and held-out text: n-grams, and how many of them stand in training text all the same.
  std::array<int64_t, kSplits> ngrams{}, shared_ngrams{};
};

// Drops documents and sets `split` of those which stay, in their order. Keys of the result are domains.
std::map<std::string, DomainReport> apply_rules(std::vector<CorpusDocument>& documents, const RuleOptions& options);

// From 0 to below 1, by a hash of the text alone.
double valid_position(std::string_view text);

// Valid UTF-8 without control characters, overstrikes, trailing blanks and runs of blank lines. "" for text that is not
// UTF-8: the caller counts it.
std::string clean_text(std::string_view text);

}  // namespace troupe::corpus
