// Peaks, and work that is measured beside them: not how fast the machine is, but that what was done is counted and the
// time it took is taken. Bounds are wide, since other programs may be running.
#include "cli/peak.h"

#include <gtest/gtest.h>
#include <omp.h>

#include <algorithm>
#include <chrono>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "base/median.h"
#include "kernels/table.h"
#include "tensor/buffer.h"

namespace troupe::cli {
namespace {

// The best of some attempts at work that returns how much it did, per second.
template <class Work>
double best_rate(const Work& work) {
  double best = 0.0;
  for (int attempt = 0; attempt < 5; ++attempt) {
    const Clock::time_point start = Clock::now();
    const double done = work();
    best = std::max(best, done / seconds_since(start));
  }
  return best;
}

TEST(PeakMeter, IsTheRateOfItsLoops) {
  const int threads = omp_get_max_threads();
  omp_set_num_threads(1);
  const PeakKernels& loops = kernels().peak;
  const int64_t n = int64_t{4} << 20;
  const auto bytes = static_cast<double>(n * static_cast<int64_t>(sizeof(float)));
  Buffer<float> a(n), b(n), c(n);  // aligned as the loops want it
  std::fill(a.begin(), a.end(), 1.0f), std::fill(b.begin(), b.end(), 2.0f);
  const auto flops_of = [](double (*loop)(int64_t)) { return best_rate([&] { return loop(200'000); }); };
  const double expected[] = {flops_of(loops.multiply_bf16), flops_of(loops.multiply_f32), best_rate([&] {
                               loops.triad(a.data(), b.data(), c.data(), n);
                               return 3.0 * bytes;
                             }),
                             best_rate([&] {
                               volatile float sum = loops.sum(a.data(), n);
                               static_cast<void>(sum);
                               return bytes;
                             })};
  EXPECT_EQ(c[0], 7.0f);
  EXPECT_EQ(loops.sum(b.data(), 1024), 2048.0f);
  for (const auto loop : {loops.multiply_bf16, loops.multiply_f32}) EXPECT_EQ(loop(2000), 2 * loop(1000));
  PeakMeter meter;
  for (const Peak peak : {Peak::kBf16, Peak::kF32, Peak::kTriad, Peak::kRead}) {
    const double measured = meter.best_burst(peak, 3), own = expected[static_cast<size_t>(peak)];
    EXPECT_GT(measured, own / 50) << peak_name(peak);  // a burst is longer, and others may run in it
    EXPECT_LT(measured, own * 4) << peak_name(peak);
  }
  omp_set_num_threads(threads);
}

// Work that takes its time, and how long it took.
struct Sleeper {
  std::chrono::milliseconds first, others;
  std::vector<double> seconds;

  void operator()() {
    const Clock::time_point start = Clock::now();
    std::this_thread::sleep_for(seconds.empty() ? first : others);
    seconds.push_back(seconds_since(start));
  }
};

TEST(MeasureAgainst, RepeatsThreeTimesAndLeavesTheFirstCallOut) {
  PeakMeter meter;
  Sleeper sleeper{std::chrono::milliseconds(400), std::chrono::milliseconds(12), {}};
  const PacedResult result = measure_against(meter, Peak::kF32, 50.0, 0.0, [&] { sleeper(); });
  EXPECT_EQ(result.repetitions, 3);
  ASSERT_EQ(sleeper.seconds.size(), 4u);
  const double each = median({sleeper.seconds.begin() + 1, sleeper.seconds.end()});
  EXPECT_NEAR(result.rate * each / 50.0, 1.0, 0.5);
}

TEST(MeasureAgainst, CountsTheWorkOfCallsThatAreJoined) {
  PeakMeter meter;
  double shortest = 1.0;
  int64_t calls = 0;
  const Clock::time_point begin = Clock::now();
  const PacedResult result = measure_against(meter, Peak::kF32, 2e6, 0.2, [&] {
    const Clock::time_point start = Clock::now();
    while (seconds_since(start) < 50e-6) {
    }
    shortest = std::min(shortest, seconds_since(start)), ++calls;
  });
  const double over_all = 2e6 * static_cast<double>(calls) / seconds_since(begin);  // peaks and the first calls, too
  EXPECT_GE(result.repetitions, 3);
  EXPECT_GT(result.rate, over_all / 8);
  EXPECT_LT(result.rate, 2e6 / shortest);
  EXPECT_GT(result.peak, 0.0);
  EXPECT_GT(result.ratio * result.peak, result.rate / 8);
  EXPECT_LT(result.ratio * result.peak, result.rate * 8);
}

}  // namespace
}  // namespace troupe::cli
