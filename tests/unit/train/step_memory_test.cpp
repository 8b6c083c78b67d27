// Training steps after the first take no tensor memory from the system: no mapping, no large allocation.
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <new>
#include <string>
#include <tuple>

#include "counting_memory.h"
#include "train/trainer.h"

namespace {

std::atomic<int64_t> mappings = 0, large_allocations = 0;

}  // namespace

// Sanitizers stand in the place of these functions themselves.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define TROUPE_SANITIZED
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define TROUPE_SANITIZED
#endif
#endif

#ifndef TROUPE_SANITIZED
constexpr size_t kLarge = size_t{32} << 10;  // batches and statistics of a step are smaller

extern "C" void* mmap(void* address, size_t bytes, int protection, int flags, int file, off_t offset) noexcept {
  ++mappings;
  return reinterpret_cast<void*>(syscall(SYS_mmap, address, bytes, protection, flags, file, offset));
}

#pragma GCC diagnostic ignored "-Wmismatched-new-delete"  // these two pairs are the match
void* operator new(size_t bytes) {
  if (bytes >= kLarge) ++large_allocations;
  if (void* memory = std::malloc(bytes)) return memory;
  throw std::bad_alloc();
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, size_t) noexcept { std::free(memory); }
#endif

namespace troupe {
namespace {

class StepMemory : public testing::TestWithParam<std::tuple<int64_t, Precision, MatrixOptimizer>> {
 protected:
  static ModelConfig config() {
    ModelConfig config{.num_layers = 2, .d_model = 128, .num_heads = 2, .d_ff = 512, .vocab_size = 1000, .context = 64};
    config.moe.num_experts = std::get<0>(GetParam());
    return config;
  }
  static Trainer trainer_of(LanguageModel& model) {
    initialize(model.params(), 1);
    return Trainer(model, Schedule({.kind = ScheduleKind::kConstant, .lr = 1e-3}, 100),
                   {.micro_batches = 2, .optimizer = {.matrices = std::get<2>(GetParam())}},
                   [](int64_t step, int64_t micro) {
                     Batch batch{.B = 4, .S = 64, .src = {}, .tgt = {}, .first_sequence = micro * 4};
                     for (int64_t i = 0; i < batch.tokens(); ++i) {
                       batch.src.push_back(static_cast<int32_t>((i * 7 + step) % 1000));
                       batch.tgt.push_back(static_cast<int32_t>((i * 11 + step) % 1000));
                     }
                     return batch;
                   });
  }
};

TEST_P(StepMemory, StepsAfterTheFirstTakeNone) {
#ifdef TROUPE_SANITIZED
  GTEST_SKIP() << "what the system is asked for cannot be counted under a sanitizer";
#endif
  LanguageModel model(config(), std::get<1>(GetParam()));
  Trainer trainer = trainer_of(model);
  const int64_t mappings_before = mappings;
  trainer.step();
  EXPECT_GT(mappings, mappings_before);  // the count counts
  trainer.step();
  const int64_t mappings_warm = mappings, large_warm = large_allocations;
  trainer.step(), trainer.step();
  EXPECT_EQ(mappings, mappings_warm);
  EXPECT_EQ(large_allocations, large_warm);
}

TEST_P(StepMemory, IsThatOfTheModel) {
  test::CountingMemory memory;
  {
    LanguageModel model(config(), std::get<1>(GetParam()), {}, memory);
    Trainer trainer = trainer_of(model);
    const auto weights = static_cast<int64_t>(std::as_const(model).params().all().size_bytes());
    const auto held = static_cast<int64_t>(weights + std::as_const(trainer).gradients().all().size_bytes() +
                                           trainer.optimizer().first_moment().all().size_bytes() +
                                           trainer.optimizer().second_moment().all().size_bytes());
    EXPECT_EQ(memory.held_bytes, held);
    if (std::get<2>(GetParam()) == MatrixOptimizer::kAdam)
      EXPECT_EQ(held, 4 * weights);  // and gradients and two moments
    else
      EXPECT_LT(held, 4 * weights - weights / 2);
    trainer.step();
    EXPECT_GE(memory.held_bytes, held + model.arena().bytes());
  }
  EXPECT_EQ(memory.held_bytes, 0);
}

INSTANTIATE_TEST_SUITE_P(Models, StepMemory,
                         testing::Combine(testing::Values(0, 4), testing::Values(Precision::kFp32, Precision::kBf16),
                                          testing::Values(MatrixOptimizer::kAdam, MatrixOptimizer::kMuon)),
                         [](const auto& info) {
                           return std::string(std::get<0>(info.param) == 0 ? "dense" : "moe") +
                                  to_string(std::get<1>(info.param)) +
                                  (std::get<2>(info.param) == MatrixOptimizer::kMuon ? "muon" : "");
                         });

}  // namespace
}  // namespace troupe
