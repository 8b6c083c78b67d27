#include "ops/rotary.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "base/threads.h"
#include "kernels/ref/rotary.h"
#include "kernels/table.h"
#include "ops/cuda/row.h"

namespace troupe {
namespace {

template <class P>
void turned(Isa level, const Rotary<P>& task, Context&) {
  parallel_chunks(task.x_TNC.rows, 64, [&](int64_t begin, int64_t end) {
    const RotaryTask<typename P::operand> rows = {task.x_TNC.rows_from(begin, end - begin), task.C,
                                                  task.positions_T.data() + begin, task.table_PR, task.backward};
    if constexpr (std::is_same_v<P, F32>)
      kernels(level).rotary.turn_f32(rows);
    else
      kernels(level).rotary.turn_bf16(rows);
  });
}

constexpr auto kRotaryAt = [](Isa level, const auto& task, Context& context) { turned(level, task, context); };

// Llama 3.1: long waves by the factor, short ones as they are, in between a mixture.
float llama3_scaled(const RopeConfig& config, float w) {
  const auto original = static_cast<double>(config.original_context);
  const double wave = 2.0 * std::numbers::pi / w;
  if (wave > original / config.low_freq_factor) return static_cast<float>(w / config.factor);
  if (wave < original / config.high_freq_factor) return w;
  const double smooth =
      (original / wave - config.low_freq_factor) / (config.high_freq_factor - config.low_freq_factor);
  return static_cast<float>((1.0 - smooth) * w / config.factor + smooth * w);
}

// YaRN (Peng et al. 2023): columns that turn often keep their frequency, columns that turn less than once are
// interpolated, and between `low` and `high` there is a ramp.
class YarnRamp {
 public:
  YarnRamp(const RopeConfig& config, int64_t R) {
    const auto column = [&](double rotations) {
      return static_cast<double>(R) *
             std::log(static_cast<double>(config.original_context) / (rotations * 2.0 * std::numbers::pi)) /
             (2.0 * std::log(config.theta));
    };
    low_ = column(config.beta_fast), high_ = column(config.beta_slow);
    if (config.truncate) low_ = std::floor(low_), high_ = std::ceil(high_);
    low_ = std::max(low_, 0.0), high_ = std::min(high_, static_cast<double>(R - 1));
    if (low_ == high_) high_ += 0.001;
  }
  double interpolated(int64_t j) const {  // the share of the interpolated frequency
    return std::clamp((static_cast<double>(j) - low_) / (high_ - low_), 0.0, 1.0);
  }

 private:
  double low_, high_;
};

}  // namespace

double yarn_factor(double scaling_factor) { return scaling_factor <= 1.0 ? 1.0 : 0.1 * std::log(scaling_factor) + 1.0; }

RotaryFrequencies rotary_frequencies(const RopeConfig& config, int64_t R, int64_t context, int64_t length) {
  const auto width = static_cast<double>(R);
  double theta = config.theta;
  if (config.scaling == RopeScaling::kDynamic) {
    const auto original = static_cast<double>(config.original_context > 0 ? config.original_context : context);
    const double longest = std::max(static_cast<double>(length), original);
    theta *= std::pow(config.factor * longest / original - (config.factor - 1.0), width / (width - 2.0));
  }
  RotaryFrequencies frequencies;
  const YarnRamp ramp(config, R);
  if (config.scaling == RopeScaling::kYarn)
    frequencies.factor = config.attention_factor > 0 ? config.attention_factor : yarn_factor(config.factor);
  for (int64_t j = 0; j < R / 2; ++j) {
    // Rounded to float32 where transformers' tensors round.
    const auto power = static_cast<float>(std::pow(theta, static_cast<float>(2 * j) / static_cast<float>(R)));
    float w = 1.0f / power;
    if (config.scaling == RopeScaling::kLinear) w /= static_cast<float>(config.factor);
    if (config.scaling == RopeScaling::kLlama3) w = llama3_scaled(config, w);
    if (config.scaling == RopeScaling::kYarn) {
      const double share = ramp.interpolated(j);
      w = static_cast<float>(share / (config.factor * power) + (1.0 - share) * w);
    }
    frequencies.w.push_back(w);
  }
  return frequencies;
}

template <class P>
Implementations<Rotary<P>> Rotary<P>::implementations() {
  static const auto rows =
      with_cuda(rows_at<Rotary>(VectorLevels<P>(), kRotaryAt, [](const auto& task) { ref::rotary(task); }));
  return rows;
}

template <class Real>
Implementations<RotaryTable<Real>> RotaryTable<Real>::implementations() {
  static const auto list = with_cuda<troupe::RotaryTable, Real>(
      {{"ref", [](const RotaryTable& task, Context&) { ref::rotary_table(task); }}});
  return list;
}

template struct Rotary<F64>;
template struct Rotary<F32>;
template struct Rotary<Bf16>;
template struct RotaryTable<double>;
template struct RotaryTable<float>;

}  // namespace troupe
