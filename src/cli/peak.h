// What this machine reaches at most, measured with all threads at the instruction set in use, or on the GPU in use
// (peak_device.h). Shared machines drift by a factor of two within minutes, so speeds are reported as ratios to peaks
// measured beside the work.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string_view>

#include "tensor/buffer.h"

namespace troupe::cli {

enum class Peak {
  kBf16,   // best bf16 product on registers or tiles (float32 below AVX512-BF16), FLOP/s
  kF32,    // float32 multiply-add on registers, FLOP/s
  kTriad,  // c = a + 3 b on memory, bytes/s: two reads and one write, past the caches
  kRead,   // sum of an array in memory, bytes/s
};
std::string_view peak_name(Peak peak);  // says by what, on a GPU

void wait_for_device();  // until what was asked of a GPU is done

class DevicePeaks;

class PeakMeter {
 public:
  PeakMeter();
  ~PeakMeter();
  double burst(Peak peak);                  // one measurement of about 5 ms; the first of a bandwidth allocates 192 MiB
  double best_burst(Peak peak, int count);  // of some, since other programs may be running

  // Of the memory of the GPU in use, held by bursts.
  int64_t device_bytes() const;

 private:
  void fill_arrays();

  Buffer<float> a_, b_, c_;
  int64_t iterations_[2] = {0, 0};  // per thread, of the compute peaks
  std::unique_ptr<DevicePeaks> device_;  // nullptr: peaks are the processor's
};

struct Peaks {
  double bf16_flops = 0, f32_flops = 0;  // per second, all threads
  double triad_bytes = 0, read_bytes = 0;
};
Peaks measure_peaks();  // medians of bursts; takes about a second

struct PacedResult {
  double rate = 0;   // work per second, median
  double peak = 0;   // median of the peak's bursts
  double ratio = 0;  // median over repetitions of rate over the mean of the bursts before and after it
  int64_t repetitions = 0;
};

// Runs `call`, which does `work` (FLOPs or bytes), for about `seconds`, with bursts of the peak in between; at least
// three times, or as often as fits into half a minute. The first call is not counted.
PacedResult measure_against(PeakMeter& meter, Peak peak, double work, double seconds,
                            const std::function<void()>& call);

}  // namespace troupe::cli
