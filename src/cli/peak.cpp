#include "cli/peak.h"

#include <omp.h>

#include <algorithm>
#include <array>
#include <vector>

#include "base/clock.h"
#include "base/device.h"
#include "base/median.h"
#include "cli/peak_device.h"
#include "kernels/cuda/machine.h"
#include "kernels/table.h"

namespace troupe::cli {
namespace {

constexpr int64_t kFloats = int64_t{16} << 20;  // 64 MiB an array: beyond the last-level cache of one or two sockets
constexpr double kBurstSeconds = 0.005;

// Calls body(begin, end) on one range of the arrays per thread; returns the time.
template <class Body>
double on_every_thread(const Body& body) {
  const Clock::time_point start = Clock::now();
#pragma omp parallel
  {
    const int64_t threads = omp_get_num_threads(), thread = omp_get_thread_num();
    const int64_t part = kFloats / threads / 1024 * 1024;
    body(thread * part, thread + 1 == threads ? kFloats : (thread + 1) * part);
  }
  return seconds_since(start);
}

}  // namespace

std::string_view peak_name(Peak peak) {
  if (active_device() != Device::kCpu) return device_peak_name(peak);
  constexpr std::array<std::string_view, 4> kNames = {"bf16", "float32", "triad", "read"};
  return kNames[static_cast<size_t>(peak)];
}

void wait_for_device() {
  if (active_device() != Device::kCpu) cuda::machine()->wait();
}

void PeakMeter::fill_arrays() {
  if (a_.size() > 0) return;
  a_ = Buffer<float>(kFloats), b_ = Buffer<float>(kFloats), c_ = Buffer<float>(kFloats);
  on_every_thread([&](int64_t begin, int64_t end) {
    std::fill(a_.begin() + begin, a_.begin() + end, 1.0f);
    std::fill(b_.begin() + begin, b_.begin() + end, 2.0f);
    std::fill(c_.begin() + begin, c_.begin() + end, 0.0f);
  });
}

PeakMeter::PeakMeter() {
  if (active_device() != Device::kCpu) {
    device_ = std::make_unique<DevicePeaks>();
    return;
  }
  for (const Peak peak : {Peak::kBf16, Peak::kF32}) {
    const auto loop = peak == Peak::kBf16 ? kernels().peak.multiply_bf16 : kernels().peak.multiply_f32;
    int64_t& iterations = iterations_[static_cast<int>(peak)];
    double shortest = 0.0;  // of three and on one thread, since other programs may be running
    for (iterations = 1000; shortest < kBurstSeconds; iterations *= 2) {
      shortest = 1.0;
      for (int attempt = 0; attempt < 3; ++attempt) {
        const Clock::time_point start = Clock::now();
        loop(iterations);
        shortest = std::min(shortest, seconds_since(start));
      }
    }
  }
}

PeakMeter::~PeakMeter() = default;

int64_t PeakMeter::device_bytes() const { return device_ ? device_->bytes() : 0; }

double PeakMeter::burst(Peak peak) {
  if (device_) return device_->burst(peak);
  const PeakKernels& loops = kernels().peak;
  switch (peak) {
    case Peak::kBf16:
    case Peak::kF32: {
      const auto loop = peak == Peak::kBf16 ? loops.multiply_bf16 : loops.multiply_f32;
      const int64_t iterations = iterations_[static_cast<int>(peak)];
      double flops = 0.0;
      const Clock::time_point start = Clock::now();
#pragma omp parallel reduction(+ : flops)
      flops += loop(iterations);
      return flops / seconds_since(start);
    }
    case Peak::kTriad:
      fill_arrays();
      return 3.0 * sizeof(float) * kFloats / on_every_thread([&](int64_t begin, int64_t end) {
               loops.triad(a_.data() + begin, b_.data() + begin, c_.data() + begin, end - begin);
             });
    case Peak::kRead:
      fill_arrays();
      return sizeof(float) * kFloats / on_every_thread([&](int64_t begin, int64_t end) {
               volatile float sink = loops.sum(a_.data() + begin, end - begin);
               static_cast<void>(sink);
             });
  }
  return 0.0;
}

double PeakMeter::best_burst(Peak peak, int count) {
  double best = 0.0;
  for (int i = 0; i < count; ++i) best = std::max(best, burst(peak));
  return best;
}

Peaks measure_peaks() {
  PeakMeter meter;
  const auto measure = [&](Peak peak) {
    std::vector<double> bursts;
    for (int i = 0; i < 25; ++i) bursts.push_back(meter.burst(peak));
    return median(bursts);
  };
  return {measure(Peak::kBf16), measure(Peak::kF32), measure(Peak::kTriad), measure(Peak::kRead)};
}

PacedResult measure_against(PeakMeter& meter, Peak peak, double work, double seconds,
                            const std::function<void()>& call) {
  constexpr double kShortestStretch = 0.01, kPatience = 30.0;
  const Clock::time_point first = Clock::now();
  call();
  wait_for_device();
  double stretch = seconds_since(first);
  int64_t calls = 1;
  while (stretch < 4 * kShortestStretch) {  // the first call is slower than the others
    const Clock::time_point start = Clock::now();
    for (int64_t i = 0; i < calls; ++i) call();
    wait_for_device();
    stretch = seconds_since(start);
    if (stretch >= kShortestStretch) break;
    calls *= 2;
  }
  // A burst is a sample of 5 ms: after a stretch of many seconds more of them say better how fast the machine was.
  const auto num_bursts = static_cast<int64_t>(std::clamp(0.01 * stretch / kBurstSeconds, 1.0, 25.0));
  const auto measure_peak = [&] {
    std::vector<double> bursts;
    for (int64_t i = 0; i < num_bursts; ++i) bursts.push_back(meter.burst(peak));
    return median(bursts);
  };
  std::vector<double> rates, peaks = {measure_peak()}, ratios;
  const Clock::time_point begin = Clock::now();
  while (ratios.empty() || seconds_since(begin) < (ratios.size() < 3 ? kPatience : seconds)) {
    const Clock::time_point start = Clock::now();
    for (int64_t i = 0; i < calls; ++i) call();
    wait_for_device();
    rates.push_back(work * static_cast<double>(calls) / seconds_since(start));
    peaks.push_back(measure_peak());
    ratios.push_back(rates.back() / (0.5 * (peaks[peaks.size() - 2] + peaks.back())));
  }
  return {median(rates), median(peaks), median(ratios), static_cast<int64_t>(ratios.size())};
}

}  // namespace troupe::cli
