// How an implementation is chosen, on an op made up here, and what a context lends.
#include "ops/op.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>
#include <string>

#include "error_of.h"

namespace troupe {
namespace {

template <class P>
struct Trace {
  static constexpr std::string_view kName = "trace";

  int64_t rows = 0;
  std::string* ran = nullptr;
};
using Task = Trace<Bf16>;
using Row = Implementation<Task>;

const bool kLogged = setenv("TROUPE_LOG", "dispatch", 1) == 0;  // before the first line of the log: it is read once

std::string takes_even_rows(const Task& task) { return task.rows % 2 == 0 ? "" : "an odd number of rows"; }

const Row kGpu = {"gpu", [](const Task& task, Context&) { *task.ran = "gpu"; }, Device::kCuda};
const Row kMissing = {"missing", [](const Task& task, Context&) { *task.ran = "missing"; }, Device::kCpu,
                      [] { return std::string("not built"); }};
const Row kEven = {"even", [](const Task& task, Context&) { *task.ran = "even"; }, Device::kCpu, nullptr,
                   takes_even_rows};
const Row kAny = {"any", [](const Task& task, Context&) { *task.ran = "any"; }};
const Row kRef = {"ref", [](const Task& task, Context&) { *task.ran = "ref"; }};

std::string run_one_of(const std::vector<Row>& list, int64_t rows, Device device = Device::kCpu) {
  std::string ran;
  const Task task{rows, &ran};
  run_first(candidates<Task>(task, list, device), device, task, Context::of_this_thread());
  return ran;
}

TEST(Dispatch, TakesTheFirstThatCanRunHere) {
  EXPECT_EQ(run_one_of({kGpu, kMissing, kAny, kRef}, 1), "any");
  EXPECT_EQ(run_one_of({kGpu, kAny, kRef}, 1, Device::kCuda), "gpu");
}

TEST(Dispatch, ARowMayRefuseATask) {
  EXPECT_EQ(run_one_of({kEven, kRef}, 2), "even");
  EXPECT_EQ(run_one_of({kEven, kRef}, 3), "ref");
}

TEST(Dispatch, RefusesByNameWhenNoRowIsLeft) {
  EXPECT_THAT(test::error_of([] { run_one_of({kEven}, 3); }, ErrorCode::kInternal),
              testing::HasSubstr("trace (bf16): no implementation accepts"));
  EXPECT_THAT(test::error_of([] { run_one_of({kMissing}, 2); }, ErrorCode::kInternal),
              testing::HasSubstr("no implementation accepts"));
  EXPECT_EQ(test::error_of([] { run_one_of({kAny}, 2, Device::kCuda); }, ErrorCode::kEnvironment),
            "trace (bf16): expected an implementation for cuda, got none that takes it (--device cpu)");
}

TEST(Dispatch, EveryReasonIsNamed) {
  EXPECT_EQ(reason_against(kGpu, Device::kCpu), "the device in use is cpu");
  EXPECT_EQ(reason_against(kMissing, Device::kCpu), "not built");
  EXPECT_EQ(reason_against(kEven, Device::kCpu), "");
}

TEST(Dispatch, TROUPE_LOGShowsEveryChoice) {
  testing::internal::CaptureStderr();
  ASSERT_TRUE(kLogged);
  run_one_of({kGpu, kMissing, kEven, kAny, kRef}, 3);
  const std::string lines = testing::internal::GetCapturedStderr();
  for (const char* line : {"trace (bf16): not gpu (the device in use is cpu)", "trace (bf16): not missing (not built)",
                           "trace (bf16): even, unless it refuses a task", "trace (bf16): any",
                           "trace (bf16): not even (an odd number of rows)"})
    EXPECT_THAT(lines, testing::HasSubstr(line));
  EXPECT_THAT(lines, testing::Not(testing::HasSubstr(": ref")));
}

TEST(Context, LendsMemoryOnceAtATimeAndAgainAfterwards) {
  Context context;
  std::byte* kept = nullptr;
  {
    const Context::Lease outer(context, 1000);
    const Context::Lease inner(context, 1000);
    ASSERT_NE(outer.data(), inner.data());
    std::memset(outer.data(), 1, 1000);
    std::memset(inner.data(), 2, 1000);
    EXPECT_EQ(outer.data()[999], std::byte{1});
    kept = outer.data();
  }
  EXPECT_EQ(Context::Lease(context, 500).data(), kept);
}

TEST(Context, LendsEveryThreadItsOwn) {
  Context context;
  const Context::LeasePerThread lease(context, 100);
#pragma omp parallel
  {
    std::memset(lease.own(), omp_get_thread_num(), 100);
#pragma omp barrier
    EXPECT_EQ(static_cast<int>(lease.own()[99]), omp_get_thread_num());
  }
}

}  // namespace
}  // namespace troupe
