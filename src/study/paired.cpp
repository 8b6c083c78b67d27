#include "study/paired.h"

#include <cmath>
#include <vector>

#include "base/error.h"
#include "eval/statistics.h"

namespace troupe {

double PairedDifference::half_interval() const { return half_interval95(standard_error, documents); }

Verdict verdict_of(double difference, double half_interval) {
  if (std::isnan(half_interval)) return Verdict::kUnknown;
  if (std::abs(difference) <= half_interval) return Verdict::kUndecided;
  return difference < 0.0 ? Verdict::kBetter : Verdict::kWorse;
}

Verdict PairedDifference::verdict() const { return verdict_of(difference, half_interval()); }

PairedDifference paired_difference(std::span<const double> nll_a, std::span<const double> nll_b,
                                   std::span<const int64_t> tokens) {
  const size_t N = tokens.size();
  if (nll_a.size() != N || nll_b.size() != N)
    fail(ErrorCode::kUsage, "paired comparison: expected the same documents, got {} and {} sums for {} documents",
         nll_a.size(), nll_b.size(), N);
  PairedDifference result{.documents = static_cast<int64_t>(N)};
  std::vector<double> differences;
  for (size_t i = 0; i < N; ++i) {
    differences.push_back(nll_b[i] - nll_a[i]);
    result.tokens += tokens[i];
  }
  if (result.tokens <= 0) fail(ErrorCode::kUsage, "paired comparison: expected documents with tokens, got none");
  const Estimate ratio = ratio_of(differences, tokens);
  result.difference = ratio.value, result.standard_error = ratio.standard_error;
  return result;
}

std::optional<PairedDifference> paired_difference(const DocumentScores& a, const DocumentScores& b) {
  if (a.empty() || a.size() != b.size()) return std::nullopt;
  std::vector<double> nll_a, nll_b;
  std::vector<int64_t> tokens;
  int64_t sum = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    const auto& [a_nll, a_tokens] = a[i];
    const auto& [b_nll, b_tokens] = b[i];
    if (a_tokens != b_tokens || a_tokens < 0) return std::nullopt;
    nll_a.push_back(a_nll), nll_b.push_back(b_nll), tokens.push_back(a_tokens), sum += a_tokens;
  }
  if (sum <= 0) return std::nullopt;
  return paired_difference(nll_a, nll_b, tokens);
}

}  // namespace troupe
