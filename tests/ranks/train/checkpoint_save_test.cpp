// Checkpoints that are written while training goes on, on as many ranks as the program was started with.
#include "train/checkpoint_save.h"

#include <gtest/gtest.h>

#include <optional>
#include <thread>

#include "error_of.h"
#include "io/checksum.h"
#include "ranks.h"
#include "small_model.h"
#include "temporary_folder.h"
#include "train/trainer.h"

namespace troupe {
namespace {

namespace fs = std::filesystem;
using test::error_of;
using test::world;

// One that all ranks see.
class SharedFolder {
 public:
  SharedFolder() {
    if (world().rank() == 0) own_.emplace();
    path_ = world().texts(own_ ? own_->path().string() : "", "test").front();
  }
  ~SharedFolder() { world().any(false, "test"); }
  fs::path operator/(const char* name) const { return path_ / name; }

 private:
  std::optional<test::TemporaryFolder> own_;
  fs::path path_;
};

struct Training {
  ModelConfig config = [] {
    ModelConfig made = test::small_config();
    made.moe.num_experts = 5, made.moe.every = 2;
    return made;
  }();
  LanguageModel model;
  Trainer trainer;
  TrainState state;

  explicit Training(Communicator* ranks)
      : model(config, Precision::kFp32, {.ranks = ranks}),
        trainer(model, Schedule({.lr = 1e-2}, 20), {.seed = 7}, [](int64_t step, int64_t) {
          Batch batch{.B = 4, .S = 8, .src = {}, .tgt = {}};
          for (int64_t i = 0; i < batch.tokens(); ++i) {
            batch.src.push_back(static_cast<int32_t>(5 + (i * 7 + step) % 40));
            batch.tgt.push_back(static_cast<int32_t>(5 + (i * 11 + step) % 40));
          }
          return batch;
        }) {
    initialize(model.params(), 3);
    step();
  }
  void step() { state.step = trainer.step().step; }
};

void expect_same_files(const Checkpoint& a, const Checkpoint& b) {
  int files = 0;
  for (const auto& entry : fs::directory_iterator(a.folder)) {
    const std::string name = entry.path().filename();
    if (!name.ends_with(".safetensors")) continue;
    ++files;
    EXPECT_EQ(xxh3_of_file(entry.path()), xxh3_of_file(b.folder / name)) << name;
  }
  EXPECT_GE(files, 2);
}

void expect_a_copy_of_its_time(Communicator* ranks) {
  SharedFolder folder;
  Training training(ranks);
  const Checkpoint now = save_checkpoint(folder / "now", training.state, training.trainer, {});
  int committed = 0;
  CheckpointSave save(folder / "then", training.state, training.trainer, {}, SaveMode::kInBackground,
                      [&](const Checkpoint&) { ++committed; });
  training.step();
  while (!save.advance()) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  const Checkpoint then = save.finish();
  EXPECT_EQ(committed, !ranks || ranks->rank() == 0 ? 1 : 0);
  EXPECT_EQ(then.step, 1);
  EXPECT_EQ(problem_of(then), "");
  expect_same_files(now, then);
}

TEST(CheckpointSave, IsACopyOfItsTimeAlthoughTrainingGoesOn) {
  expect_a_copy_of_its_time(&world());
  if (world().size() == 1) expect_a_copy_of_its_time(nullptr);
}

TEST(CheckpointSave, IsNotWholeBeforeItsEndAndLeavesNothingWithoutIt) {
  SharedFolder folder;
  Training training(&world());
  {
    CheckpointSave save(folder / "cut", training.state, training.trainer, {}, SaveMode::kInBackground);
    world().any(false, "test");
    EXPECT_TRUE(list_checkpoints(folder / "cut").empty());
    world().any(false, "test");
  }
  world().any(false, "test");
  EXPECT_TRUE(list_checkpoints(folder / "cut").empty());
  if (world().size() == 1) {
    EXPECT_TRUE(!fs::exists(folder / "cut") || fs::is_empty(folder / "cut"));
  }
}

// Of a full disk, say.
TEST(CheckpointSave, WhatFailsAllRanksSay) {
  SharedFolder folder;
  Training training(&world());
  CheckpointSave gone(folder / "gone", training.state, training.trainer, {}, SaveMode::kNow);  // writes in finish()
  world().any(false, "test");
  if (world().rank() == 0) fs::remove_all(folder / "gone");
  world().any(false, "test");
  EXPECT_NE(error_of([&] { gone.finish(); }, ErrorCode::kEnvironment), "");

  CheckpointSave late(folder / "late", training.state, training.trainer, {}, SaveMode::kInBackground,
                      [](const Checkpoint&) { fail(ErrorCode::kEnvironment, "late: expected a disk, got none"); });
  EXPECT_EQ(error_of(
                [&] {
                  while (!late.advance()) {
                  }
                },
                ErrorCode::kEnvironment),
            "late: expected a disk, got none");
}

}  // namespace
}  // namespace troupe
