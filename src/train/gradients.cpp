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
template <class T>
std::optional<std::string> first_non_finite(const ParameterStore<T>& store, const Selection& of = {}) {
  const Device device = store.memory().device();  // moments may lie on the host while a GPU is in use
  if (find_non_finite<T>(store.all(), device) < 0) return std::nullopt;
  for (const Parameter& parameter : store.entries()) {
    if (of && !of(parameter)) continue;
    const std::span<const T> values = store.at(parameter.slot);
    if (const int64_t at = find_non_finite<T>(values, device); at >= 0)
      return fmt::format("{}: expected finite values, got {} at index {}", parameter.name,
                         static_cast<float>(to_host<T>(values, at)), at);
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

void require_finite_layer(int64_t step, const LossSum& loss, double squares, const ParameterStore<float>& grads,
                          int64_t layer) {
  if (std::isfinite(loss.total) && std::isfinite(squares)) return;
  constexpr const char* kHint =
      "nothing of this step is saved; a lower train.schedule.lr or a longer warm-up may help, or train.clip_norm "
      "without train.optimizer.release_gradients";
  if (const auto found = first_non_finite(grads, [&](const Parameter& parameter) { return parameter.layer == layer; }))
    fail(ErrorCode::kNonFinite, "step {}: gradient of {} ({})", step, *found, kHint);
  fail(ErrorCode::kNonFinite, "step {}: loss: expected a finite value, got {} ({})", step, loss.total, kHint);
}

template <class T>
void require_finite_update(int64_t step, const std::string& kind, const ParameterStore<T>& values) {
  if (const auto found = first_non_finite(values))
    fail(ErrorCode::kNonFinite,
         "step {}: after the update: {}{} (nothing of this step is saved; a lower train.schedule.lr, a longer warm-up "
         "or train.clip_norm may help)",
         step, kind, *found);
}

template void require_finite_update(int64_t, const std::string&, const ParameterStore<float>&);
template void require_finite_update(int64_t, const std::string&, const ParameterStore<bf16>&);

}  // namespace troupe
