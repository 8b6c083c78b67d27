// Two models on the same documents: is the difference between them more than chance would make it?
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "eval/perplexity.h"
#include "troupe/fields.h"

namespace troupe {

// What a difference says of the second model. The chance meant is that of the documents: two checkpoints were compared,
// and other trainings of the same models may differ by more.
enum class Verdict {
  kUnknown,    // fewer than two documents
  kUndecided,  // within the 95 % interval
  kBetter,
  kWorse
};
template <>
struct EnumNames<Verdict> {
  static constexpr std::array<std::pair<std::string_view, Verdict>, 4> values = {{{"unknown", Verdict::kUnknown},
                                                                                  {"undecided", Verdict::kUndecided},
                                                                                  {"better", Verdict::kBetter},
                                                                                  {"worse", Verdict::kWorse}}};
};

// Below 0 is better, if the half of the 95 % interval is not larger; NaN: unknown.
Verdict verdict_of(double difference, double half_interval);

struct PairedDifference {
  double difference = 0.0;      // nats per token, second model minus first: below 0 the second is better
  double standard_error = 0.0;  // NaN with fewer than two documents
  int64_t documents = 0;
  int64_t tokens = 0;

  double half_interval() const;  // half of the 95 % interval, by t over documents; NaN with fewer than two
  Verdict verdict() const;
};

// Documents are the units: tokens of one text depend on each other. A ratio estimator (ratio_of(), eval/statistics.h)
// of d_i, the difference of document i's sums, over its tokens. nll_a, nll_b: sums of negative log-likelihoods per
// document, natural log; tokens: scored tokens per document. Throws kUsage unless the three have one length and some
// document has tokens.
PairedDifference paired_difference(std::span<const double> nll_a, std::span<const double> nll_b,
                                   std::span<const int64_t> tokens);

// The same of scored documents; nothing unless both models were scored on as many documents of the same lengths.
std::optional<PairedDifference> paired_difference(const DocumentScores& a, const DocumentScores& b);

}  // namespace troupe
