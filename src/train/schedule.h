// Learning rate of every update, with fairseq's indexing: update n counts from 0 and its rate is set before it, so
// under every warm-up but `fixed` the first update has rate 0 (moments still move).
#pragma once

#include <cstdint>
#include <string>

#include "troupe/fields.h"

namespace troupe {

enum class ScheduleKind { kPolynomial, kInverseSqrt, kCosine, kConstant, kConstantLinear, kFixed };
template <>
struct EnumNames<ScheduleKind> {
  static constexpr std::array<std::pair<std::string_view, ScheduleKind>, 6> values = {
      {{"polynomial", ScheduleKind::kPolynomial},
       {"inverse_sqrt", ScheduleKind::kInverseSqrt},
       {"cosine", ScheduleKind::kCosine},
       {"constant", ScheduleKind::kConstant},
       {"constant_linear", ScheduleKind::kConstantLinear},
       {"fixed", ScheduleKind::kFixed}}};
};

struct ScheduleConfig {
  ScheduleKind kind = ScheduleKind::kPolynomial;
  double lr = 1e-3;
  int64_t warmup_steps = 0;
  double warmup_fraction = 0.0;
  int64_t decay_steps = 0;
  double end_lr = 0.0;
  double power = 1.0;
  double cooldown_fraction = 0.2;

  template <class V>
  void fields(V& v) {
    v("kind", kind, any_value(), "shape after the warm-up");
    v("lr", lr, range(0, 1e38), "peak rate");
    v("warmup_steps", warmup_steps, range(0, 1e12), "updates until the peak");
    v("warmup_fraction", warmup_fraction, range(0, 1), "the same as a share of all updates; give one of the two");
    v("decay_steps", decay_steps, range(0, 1e12),
      "polynomial, cosine, constant_linear: update at which end_lr is reached; 0 means the last");
    v("end_lr", end_lr, range(0, 1e38), "polynomial, cosine, constant_linear: rate at the end");
    v("power", power, range(0, 1000), "polynomial: exponent of the decay; 1 is linear");
    v("cooldown_fraction", cooldown_fraction, range(0, 1),
      "constant_linear: share of all updates, the last ones, over which the rate falls linearly to end_lr");
  }
};

// n < warmup, all kinds but `fixed`: lr n / warmup. After it, with x = (n - warmup) / (total - warmup):
//   polynomial    end + (lr - end) (1 - x)^power, `end` from n = total on   (fairseq
//   polynomial_decay_schedule.py:74-89) inverse_sqrt  lr sqrt(warmup / n) (fairseq inverse_square_root_schedule.py)
//   cosine        end + (lr - end) (1 + cos(pi x)) / 2, `end` from n = total on
//   constant      lr
//   constant_linear  lr, over the last c = round(cooldown_fraction total) updates end + (lr - end) (total - n) / c,
//                 `end` from n = total on (also called trapezoidal, or warm-up, stable, decay: Hu et al. 2024, MiniCPM)
//   fixed         lr min(1, (n + 1) / warmup): first rate lr / warmup       (fairseq fixed_schedule.py)
class Schedule {
 public:
  // `steps` is the length of the run. Throws kUsage for contradictory fields; `where` opens the message.
  Schedule(const ScheduleConfig& config, int64_t steps, const std::string& where = "train.schedule");

  double operator()(int64_t n) const;

  int64_t warmup() const { return warmup_; }
  int64_t total() const { return total_; }
  double peak() const { return config_.lr; }

 private:
  ScheduleConfig config_;
  int64_t warmup_, total_, cooldown_ = 0;
};

}  // namespace troupe
