#include "study/paired.h"

#include <cmath>
#include <limits>

#include "base/error.h"

namespace troupe {

PairedDifference paired_difference(const std::vector<DocumentScore>& a, const std::vector<DocumentScore>& b) {
  if (a.size() != b.size())
    fail(ErrorCode::kInternal, "paired difference: expected the same documents, got {} and {}", a.size(), b.size());
  double difference = 0.0, tokens = 0.0;
  for (size_t i = 0; i < a.size(); ++i) {
    if (a[i].tokens != b[i].tokens)
      fail(ErrorCode::kInternal, "paired difference: document {}: expected equal tokens, got {} and {}", i, a[i].tokens,
           b[i].tokens);
    difference += a[i].nll - b[i].nll;
    tokens += static_cast<double>(a[i].tokens);
  }
  PairedDifference result{.documents = static_cast<int64_t>(a.size())};
  result.difference = tokens > 0 ? difference / tokens : 0.0;
  if (a.size() < 2) {
    result.standard_error = std::numeric_limits<double>::infinity();
    return result;
  }
  double squares = 0.0;
  for (size_t i = 0; i < a.size(); ++i) {
    const double residual = a[i].nll - b[i].nll - result.difference * static_cast<double>(a[i].tokens);
    squares += residual * residual;
  }
  const auto k = static_cast<double>(a.size());
  result.standard_error = std::sqrt(k / (k - 1.0) * squares) / tokens;
  return result;
}

}  // namespace troupe
