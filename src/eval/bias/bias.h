// Stereotypes in a model's preferences: StereoSet (Nadeem et al. 2021) and CrowS-Pairs (Nangia et al. 2020).
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "data/tokenizer/tokenizer.h"
#include "eval/requests.h"

namespace troupe {

struct BiasFigure {
  std::string set;       // "stereoset/intrasentence", "stereoset/intersentence", "crows_pairs"
  std::string category;  // "gender", ...; "all"
  std::string convention;
  std::string metric;
  double value = 0.0;
  double standard_error = 0.0;  // over terms (StereoSet) or pairs (CrowS-Pairs); NaN where there is none
  int64_t n = 0;                // items
};

struct BiasReport {
  std::vector<BiasFigure> figures;
  std::string data_checksum;
  RequestStats requests;
};

// DIR/stereoset/dev.json (or .zst, .gz), checked whole. load_...() throw kData naming file, record and field: what
// read_text_file() and parse_records() refuse, a field that is missing, empty or no text, an id twice, not one sentence
// of each label, no item at all.
struct StereoSet {
  struct Item {
    std::string where, category, term, context;  // context: "" in the first part
    std::string candidates[3];                   // stereotype, anti-stereotype, unrelated
  };
  std::vector<Item> intrasentence, intersentence;  // one of them may be empty
  std::string checksum;
};
StereoSet load_stereoset(const std::filesystem::path& data_dir);

// DIR/crows_pairs/crows_pairs_anonymized.csv.
struct CrowsPairs {
  struct Pair {
    std::string where, category, more, less;
  };
  std::vector<Pair> pairs;
  std::string checksum;
};
CrowsPairs load_crows_pairs(const std::filesystem::path& data_dir);

// Per target term with n items and mean log-probabilities per token s, a, u of the
// stereotypical, anti-stereotypical and unrelated candidate: LMS = 100 (#[s > u] + #[a > u]) / 2n, SS = 100 #[s > a] /
// n; a category's figure is the mean over its terms, ICAT = LMS min(SS, 100 - SS) / 50. Intrasentence candidates are
// whole sentences; intersentence ones follow the context.
BiasReport evaluate_stereoset(LanguageModel& model, const Tokenizer& tokenizer, const StereoSet& set,
                              const RequestOptions& options, const RequestProgress& progress = {});

// Per category and for all pairs
//   paper    stereotype_score: percentage of pairs whose more stereotyping sentence has the larger mean
//            log-probability, both times 1,000 and rounded; neutral: percentage of ties (which count as no preference)
//   harness  pct_stereotype and likelihood_diff: share of pairs by summed log-probabilities, mean absolute difference
BiasReport evaluate_crows_pairs(LanguageModel& model, const Tokenizer& tokenizer, const CrowsPairs& set,
                                const RequestOptions& options, const RequestProgress& progress = {});

// The scores of one StereoSet item, and the figures from many: apart from the model, so that tests can give scores.
struct StereoSetScores {
  std::string category, term;
  double stereotype = 0.0, anti_stereotype = 0.0, unrelated = 0.0;
};
std::vector<BiasFigure> stereoset_figures(const std::string& set, const std::vector<StereoSetScores>& scores);

struct CrowsPairsScores {
  std::string category;
  double more = 0.0, less = 0.0;          // paper: means of the tokens' log-probabilities
  double more_sum = 0.0, less_sum = 0.0;  // harness: sums; a line end within a sentence is a token of its own there
};
std::vector<BiasFigure> crows_pairs_figures(const std::vector<CrowsPairsScores>& scores);

}  // namespace troupe
