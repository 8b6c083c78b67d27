// Is one model better than another on the same documents? The difference per token and its standard error, with
// documents as the independent units.
#pragma once

#include <cstdint>
#include <vector>

#include "eval/perplexity.h"

namespace troupe {

// difference = sum_i (a_i - b_i) / sum_i n_i in nats per token (n_i tokens of document i): negative if `a` predicts
// better. standard_error is that of a ratio of two means, linearised:
//   sqrt(k / (k - 1) * sum_i (a_i - b_i - difference * n_i)^2) / sum_i n_i     over k documents.
struct PairedDifference {
  double difference = 0.0;
  double standard_error = 0.0;  // infinite with fewer than two documents
  int64_t documents = 0;

  // More than two standard errors from zero.
  bool is_real() const { return difference > 2.0 * standard_error || difference < -2.0 * standard_error; }
};

// Throws kInternal unless both lists hold the same documents (equal token counts in order).
PairedDifference paired_difference(const std::vector<DocumentScore>& a, const std::vector<DocumentScore>& b);

}  // namespace troupe
