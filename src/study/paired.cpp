#include "study/paired.h"

#include <cmath>
#include <limits>

#include "base/error.h"

namespace troupe {

bool PairedDifference::is_real() const { return std::abs(difference) > 2.0 * standard_error; }

PairedDifference paired_difference(std::span<const double> nll_a, std::span<const double> nll_b,
                                   std::span<const int64_t> tokens) {
  const size_t N = tokens.size();
  if (nll_a.size() != N || nll_b.size() != N)
    fail(ErrorCode::kUsage, "paired comparison: expected the same documents, got {} and {} sums for {} documents",
         nll_a.size(), nll_b.size(), N);
  PairedDifference result{.documents = static_cast<int64_t>(N)};
  double sum = 0.0;
  for (size_t i = 0; i < N; ++i) {
    sum += nll_b[i] - nll_a[i];
    result.tokens += tokens[i];
  }
  if (result.tokens <= 0) fail(ErrorCode::kUsage, "paired comparison: expected documents with tokens, got none");
  const auto total = static_cast<double>(result.tokens);
  result.difference = sum / total;
  double squares = 0.0;
  for (size_t i = 0; i < N; ++i) {
    const double residual = nll_b[i] - nll_a[i] - result.difference * static_cast<double>(tokens[i]);
    squares += residual * residual;
  }
  const auto n = static_cast<double>(N);
  result.standard_error = N < 2 ? std::numeric_limits<double>::quiet_NaN() : std::sqrt(n / (n - 1.0) * squares) / total;
  return result;
}

}  // namespace troupe
