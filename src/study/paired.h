// Two models on the same documents: is the difference between them more than chance would make it?
#pragma once

#include <cstdint>
#include <span>

namespace troupe {

struct PairedDifference {
  double difference = 0.0;      // nats per token, second model minus first: below 0 the second is better
  double standard_error = 0.0;  // NaN with fewer than two documents
  int64_t documents = 0;
  int64_t tokens = 0;

  bool is_known() const { return standard_error == standard_error; }  // whether there is an error to compare with
  // Beyond two standard errors, about 95 % confidence.
  bool is_real() const;
};

// Documents are the units: tokens of one text depend on each other. With d_i the difference of document i's sums, n_i
// its tokens and R = sum d / sum n (a ratio estimator, Cochran 1977, section 6.4):
//   standard error of R = sqrt(N / (N - 1) * sum (d_i - R n_i)^2) / sum n
// nll_a, nll_b: sums of negative log-likelihoods per document, natural log; tokens: scored tokens per document.
// Throws kUsage unless the three have one length and some document has tokens.
PairedDifference paired_difference(std::span<const double> nll_a, std::span<const double> nll_b,
                                   std::span<const int64_t> tokens);

}  // namespace troupe
