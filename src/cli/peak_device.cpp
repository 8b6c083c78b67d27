#include "cli/peak_device.h"

#include <algorithm>
#include <optional>
#include <vector>

#include "base/clock.h"
#include "cli/bench_buffers.h"
#include "kernels/cuda/cublaslt.h"
#include "kernels/cuda/machine.h"
#include "ops/elementwise.h"
#include "ops/linear.h"

namespace troupe::cli {
namespace peaks {  // members of DevicePeaks::State, which is no file's own

constexpr int64_t kSide = 8192;                                   // of the three matrices of a product
constexpr int64_t kDeviceFloats = int64_t{64} << 20;              // 256 MiB an array: beyond any cache of a card
constexpr double kDeviceBurstSeconds = 0.01, kWarmSeconds = 0.3;  // clocks rise, then fall under load

template <class P>
class LargeProduct {
 public:
  LargeProduct()
      : weight_(repeated_buffer<float>(kSide * kSide, 1, 0.05)),
        x_(repeated_buffer<typename P::operand>(kSide * kSide, 2, 1.0)),
        y_(kSide * kSide, active_memory()),
        bank_(1, kSide, kSide, weight_.data(), nullptr) {
    bank_.weights_changed();
  }
  void call() {
    ForwardEpilogue<P> epilogue;
    epilogue.out_operand = {y_.data(), kSide, kSide};
    run(LinearForward<P>{bank_, {x_.data(), kSide, kSide}, {}, epilogue});
  }
  double flops() const { return 2.0 * kSide * kSide * kSide; }
  int64_t bytes() const { return weight_.bytes() + x_.bytes() + y_.bytes() + kSide * kSide * kCopyBytes; }

 private:
  static constexpr int64_t kCopyBytes = std::is_same_v<P, Bf16> ? sizeof(bf16) : 0;  // of the bank
  Buffer<float> weight_;
  Buffer<typename P::operand> x_, y_;
  LinearBank<P> bank_;
};

class LargeSum {
 public:
  void call() {
    const auto matrix = [](auto& buffer) { return Matrix(buffer.data(), 1, kDeviceFloats); };
    run(Add<float>{matrix(a_), matrix(b_), matrix(c_)});
  }
  double bytes_moved() const { return 3.0 * sizeof(float) * kDeviceFloats; }
  int64_t bytes() const { return 3 * a_.bytes(); }

 private:
  Buffer<float> a_{kDeviceFloats, active_memory()}, b_{kDeviceFloats, active_memory()},
      c_{kDeviceFloats, active_memory()};
};

// One peak: its work, made when first asked for, and how many calls make a burst.
template <class Work>
class Bursts {
 public:
  double seconds_of_a_call() {
    if (!work_) warm_up();
    return seconds_of(calls_) / static_cast<double>(calls_);
  }
  Work& work() { return *work_; }
  int64_t bytes() const { return work_ ? work_->bytes() : 0; }

 private:
  double seconds_of(int64_t calls) {
    const Clock::time_point start = Clock::now();
    for (int64_t i = 0; i < calls; ++i) work_->call();
    wait_for_device();
    return seconds_since(start);
  }
  void warm_up() {
    work_.emplace();
    seconds_of(1);  // loads libraries
    double one = 0.0;
    for (const Clock::time_point start = Clock::now(); seconds_since(start) < kWarmSeconds;) one = seconds_of(1);
    calls_ = std::clamp<int64_t>(static_cast<int64_t>(kDeviceBurstSeconds / one), 1, 1000);
  }

  std::optional<Work> work_;
  int64_t calls_ = 1;
};

}  // namespace peaks

struct DevicePeaks::State {
  peaks::Bursts<peaks::LargeProduct<Bf16>> bf16;
  peaks::Bursts<peaks::LargeProduct<F32>> f32;
  peaks::Bursts<peaks::LargeSum> sum;
};

DevicePeaks::DevicePeaks() : state_(std::make_unique<State>()) {}
DevicePeaks::~DevicePeaks() = default;

std::string_view device_peak_name(Peak peak) {
  const bool by_library = cuda::lt_unavailable().empty();
  switch (peak) {
    case Peak::kBf16:
      return by_library ? "bf16, 8192^3 by cuBLASLt" : "bf16, 8192^3 by our own product";
    case Peak::kF32:
      return by_library ? "float32, 8192^3 by cuBLASLt" : "float32, 8192^3 by our own product";
    case Peak::kTriad:
    case Peak::kRead:
      break;
  }
  return "c = a + b";
}

double DevicePeaks::burst(Peak peak) {
  const auto rate_of = [](auto& bursts) {
    const double seconds = bursts.seconds_of_a_call();
    return bursts.work().flops() / seconds;
  };
  if (peak == Peak::kBf16) return rate_of(state_->bf16);
  if (peak == Peak::kF32) return rate_of(state_->f32);
  const double seconds = state_->sum.seconds_of_a_call();
  return state_->sum.work().bytes_moved() / seconds;
}

int64_t DevicePeaks::bytes() const { return state_->bf16.bytes() + state_->f32.bytes() + state_->sum.bytes(); }

}  // namespace troupe::cli
