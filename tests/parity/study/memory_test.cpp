// What a training holds of a GPU's memory, on the emulated grid, beside what is estimated.
#include "study/memory.h"

#include <gtest/gtest.h>

#include <map>
#include <mutex>
#include <optional>
#include <thread>

#include "kernels/context.h"
#include "kernels/cuda/emulator.h"
#include "model/language_model.h"
#include "nn/parameters.h"
#include "small_model.h"
#include "train/trainer.h"

namespace troupe {
namespace {

// The emulated grid, which says how much of it is held.
class CountedGrid final : public cuda::Machine {
 public:
  CountedGrid() { cuda::use_machine(*this); }
  ~CountedGrid() override {
    cuda::set_machine(&cuda::emulator());
    use_device(Device::kCpu);
    use_memory(host_memory());
  }
  int64_t held() const { return held_; }

  std::string description() const override { return grid_.description(); }
  void* allocate(int64_t bytes) override {
    void* const data = grid_.allocate(bytes);
    const std::lock_guard lock(mutex_);
    sizes_[data] = bytes, held_ += bytes;
    return data;
  }
  void free(void* data) noexcept override {
    {
      const std::lock_guard lock(mutex_);
      if (const auto found = sizes_.find(data); found != sizes_.end()) held_ -= found->second, sizes_.erase(found);
    }
    grid_.free(data);
  }
  void copy(const void* src, int64_t src_pitch, void* dst, int64_t dst_pitch, int64_t width, int64_t rows) override {
    grid_.copy(src, src_pitch, dst, dst_pitch, width, rows);
  }
  void* allocate_host(int64_t bytes) override { return grid_.allocate_host(bytes); }
  int64_t fetch(const void* src, void* dst, int64_t bytes) override { return grid_.fetch(src, dst, bytes); }
  void arrive(int64_t fetched) override { grid_.arrive(fetched); }
  void launch(cuda::KernelId id, int64_t blocks, int threads, const void* kernel, int64_t bytes) override {
    grid_.launch(id, blocks, threads, kernel, bytes);
  }
  void* stream() override { return nullptr; }
  void asked(std::string_view library, std::span<const void* const> places) override { grid_.asked(library, places); }
  void wait() override {}

 private:
  cuda::Emulator& grid_ = cuda::emulator();
  std::mutex mutex_;
  std::map<void*, int64_t> sizes_;
  int64_t held_ = 0;
};

// What two updates leave with the model and its trainer, and the room of ops, of a context that began with them.
struct Held {
  int64_t training = 0, workspaces = 0;
};
Held held_by_training(const CountedGrid& grid, const ModelConfig& config, Precision precision,
                      const DecoderOptions& options, const OptimizerConfig& optimizer, const Batch& batch) {
  Held held;
  std::thread([&] {
    std::optional<LanguageModel> model(std::in_place, config, precision, options, cuda::memory());
    initialize(model->params(), 1);
    std::optional<Trainer> trainer(std::in_place, *model, Schedule({.kind = ScheduleKind::kConstant, .lr = 1e-3}, 100),
                                   TrainerOptions{.optimizer = optimizer}, [&](int64_t, int64_t) { return batch; });
    trainer->step(), trainer->step();
    held.training = grid.held();
    trainer.reset(), model.reset();
    held.training -= grid.held();
    held.workspaces = Context::of_this_thread().bytes();
  }).join();
  return held;
}

TEST(MemoryOfAGpu, IsWithinFivePercentOfTheEstimate) {
  if (!cuda::machine() || cuda::machine()->stream()) GTEST_SKIP() << "the grid is not emulated";
  CountedGrid grid;
  struct Case {
    int64_t experts;
    bool recompute;
    Precision precision;
    OptimizerConfig optimizer = {};
  };
  for (const auto& [experts, recompute, precision, optimizer] :
       {Case{0, false, Precision::kBf16}, Case{8, true, Precision::kBf16},
        Case{0, false, Precision::kBf16, {.matrices = MatrixOptimizer::kMuon}},
        Case{4, false, Precision::kFp32, {.matrices = MatrixOptimizer::kMuon}},
        Case{8, false, Precision::kBf16, {.moments = Precision::kBf16}},
        Case{8, false, Precision::kBf16, {.offload = true}},
        Case{0, false, Precision::kBf16, {.moments = Precision::kBf16, .offload = true}},
        Case{8, true, Precision::kBf16, {.release_gradients = true}}}) {
    SCOPED_TRACE(testing::Message() << experts << " experts, recompute " << recompute << ", optimizer "
                                    << name_of_enum(optimizer.matrices) << ", moments "
                                    << name_of_enum(optimizer.moments) << ", offload " << optimizer.offload
                                    << ", gradients released " << optimizer.release_gradients);
    ModelConfig config{.num_layers = 2, .d_model = 64, .num_heads = 2, .d_ff = 256, .vocab_size = 512, .context = 32};
    config.moe.num_experts = experts;
    Batch batch{.B = 2, .S = 32};
    for (int32_t i = 0; i < 64; ++i) batch.src.push_back(5 + i * 7 % 400), batch.tgt.push_back(5 + i * 11 % 400);
    const Held held = held_by_training(grid, config, precision, {.recompute = recompute}, optimizer, batch);
    const MemoryEstimate memory = estimate_memory(config, 2, 32, precision, optimizer);
    const auto training = static_cast<double>(memory.total(recompute) - memory.workspaces - memory.libraries);
    EXPECT_NEAR(static_cast<double>(held.training), training, 0.05 * training);
    const auto workspaces = static_cast<double>(memory.workspaces + memory.libraries);
    EXPECT_NEAR(static_cast<double>(held.workspaces), workspaces, 0.05 * workspaces);
  }
}

}  // namespace
}  // namespace troupe
