#include "train/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "base/error.h"

namespace troupe {

Schedule::Schedule(const ScheduleConfig& config, int64_t steps, const std::string& where) : config_(config) {
  if (config.warmup_steps > 0 && config.warmup_fraction > 0.0)
    fail(ErrorCode::kUsage, "{}: expected warmup_steps or warmup_fraction, got both ({} and {})", where,
         config.warmup_steps, config.warmup_fraction);
  warmup_ = config.warmup_fraction > 0.0 ? std::llround(config.warmup_fraction * static_cast<double>(steps))
                                         : config.warmup_steps;
  total_ = config.decay_steps > 0 ? config.decay_steps : steps;
  const bool constant_linear = config.kind == ScheduleKind::kConstantLinear;
  const bool decays =
      config.kind == ScheduleKind::kPolynomial || config.kind == ScheduleKind::kCosine || constant_linear;
  if (decays && warmup_ > total_)
    fail(ErrorCode::kUsage, "{}.warmup_steps: expected at most the {} steps of the decay, got {}", where, total_,
         warmup_);
  if (constant_linear) {
    const double wanted = config.cooldown_fraction * static_cast<double>(total_);
    const int64_t most = total_ - warmup_;
    if (wanted > static_cast<double>(most) + 0.5)  // both shares may have been rounded up
      fail(ErrorCode::kUsage, "{}.cooldown_fraction: expected at most the {} updates after the warm-up, got {} of {}",
           where, most, wanted, total_);
    cooldown_ = std::min<int64_t>(std::llround(wanted), most);
  }
  if (config.kind == ScheduleKind::kInverseSqrt && warmup_ < 1)
    fail(ErrorCode::kUsage, "{}.warmup_steps: expected at least 1 with inverse_sqrt, got {}", where, warmup_);
}

double Schedule::operator()(int64_t n) const {
  const double lr = config_.lr, end = config_.end_lr;
  const auto at = static_cast<double>(n), warmup = static_cast<double>(warmup_);
  if (config_.kind == ScheduleKind::kFixed) return warmup_ > 0 ? lr * std::min(1.0, (at + 1.0) / warmup) : lr;
  if (n < warmup_) return lr * at / warmup;
  if (config_.kind == ScheduleKind::kConstantLinear) {
    if (n >= total_) return cooldown_ > 0 ? end : lr;
    const int64_t left = total_ - n;
    return left >= cooldown_ ? lr : end + (lr - end) * static_cast<double>(left) / static_cast<double>(cooldown_);
  }
  const double x = n < total_ ? (at - warmup) / static_cast<double>(total_ - warmup_) : 1.0;
  switch (config_.kind) {
    case ScheduleKind::kPolynomial:
      return n > 0 && n == warmup_ ? lr : n >= total_ ? end : end + (lr - end) * std::pow(1.0 - x, config_.power);
    case ScheduleKind::kInverseSqrt:
      return lr * std::sqrt(warmup / at);
    case ScheduleKind::kCosine:
      return end + (lr - end) * 0.5 * (1.0 + std::cos(std::numbers::pi * x));
    case ScheduleKind::kConstant:
    case ScheduleKind::kConstantLinear:
    case ScheduleKind::kFixed:
      break;
  }
  return lr;
}

}  // namespace troupe
