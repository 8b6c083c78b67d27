#include "train/gradients.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include "base/error.h"
#include "ops/adam.h"
#include "ops/transfer.h"

namespace troupe {
namespace {

// "NAME: expected finite values, got nan at index 5", or nothing.
std::optional<std::string> first_non_finite(const ParameterStore<float>& store) {
  if (find_non_finite<float>(store.all()) < 0) return std::nullopt;
  for (const Parameter& parameter : store.entries()) {
    const std::span<const float> values = store.at(parameter.slot);
    if (const int64_t at = find_non_finite<float>(values); at >= 0)
      return fmt::format("{}: expected finite values, got {} at index {}", parameter.name,
                         to_host<float>(values, at), at);
  }
  return std::nullopt;
}

}  // namespace

double gradient_norm(const ParameterStore<float>& grads, int64_t tokens, Communicator* ranks) {
  double sum = sum_of_squares<float>(grads.all());
  if (ranks) ranks->sum(std::span(&sum, 1), "gradient norm");
  return std::sqrt(sum) / static_cast<double>(tokens);
}

double clip_factor(double norm, double max_norm) {
  return max_norm > 0.0 ? std::min(1.0, max_norm / (norm + 1e-6)) : 1.0;
}

void require_finite(int64_t step, const LossSum& loss, double norm, const ParameterStore<float>& params,
                    const ParameterStore<float>& grads) {
  if (std::isfinite(loss.total) && std::isfinite(norm)) return;
  constexpr const char* kHint =
      "parameters and checkpoints are as before this step; a lower train.schedule.lr, a longer warm-up or "
      "train.clip_norm may help";
  if (const auto found = first_non_finite(params)) fail(ErrorCode::kNonFinite, "step {}: {} ({})", step, *found, kHint);
  if (const auto found = first_non_finite(grads))
    fail(ErrorCode::kNonFinite, "step {}: gradient of {} ({})", step, *found, kHint);
  fail(ErrorCode::kNonFinite, "step {}: loss: expected a finite value, got {} ({})", step, loss.total, kHint);
}

void require_finite_update(int64_t step, const std::string& kind, const ParameterStore<float>& values) {
  if (const auto found = first_non_finite(values))
    fail(ErrorCode::kNonFinite,
         "step {}: after the update: {}{} (nothing of this step is saved; a lower train.schedule.lr, a longer warm-up "
         "or train.clip_norm may help)",
         step, kind, *found);
}

}  // namespace troupe
