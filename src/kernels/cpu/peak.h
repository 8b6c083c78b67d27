// Loops that do nothing but what a processor is fast at, for measured peaks (cli/peak.h).
#pragma once

#include <cstdint>

namespace troupe {

struct PeakKernels {
  // Runs the best product of the instruction set on registers (or tiles) `iterations` times; returns the operations
  // done.
  double (*multiply_bf16)(int64_t iterations);
  double (*multiply_f32)(int64_t iterations);
  void (*triad)(const float* a, const float* b, float* c, int64_t n);  // c = a + 3 b, stores past the caches
  float (*sum)(const float* a, int64_t n);
};

}  // namespace troupe
