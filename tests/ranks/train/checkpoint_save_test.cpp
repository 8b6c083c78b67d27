// Checkpoints that are written while training goes on, on as many ranks as the program was started with.
#include "train/checkpoint_save.h"

#include <gtest/gtest.h>

#include <map>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "error_of.h"
#include "io/checksum.h"
#include "io/safetensors.h"
#include "ranks.h"
#include "shared_folder.h"
#include "small_model.h"
#include "train/trainer.h"

namespace troupe {
namespace {

namespace fs = std::filesystem;
using test::error_of;
using test::SharedFolder;
using test::world;

struct Training {
  ModelConfig config;
  LanguageModel model;
  Trainer trainer;
  TrainState state;

  explicit Training(Communicator* ranks, int64_t experts = 5)
      : config(sparse(experts)),
        model(config, Precision::kFp32, {.ranks = ranks}),
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
  static ModelConfig sparse(int64_t experts) {
    ModelConfig made = test::small_config();
    made.moe.num_experts = experts, made.moe.every = 2;
    return made;
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

// Parameters and moments that lie here, by name.
std::map<std::string, std::vector<float>> tensors_of_training(Training& training) {
  std::map<std::string, std::vector<float>> all;
  const auto add = [&](const std::string& prefix, const auto& store) {
    for (const Parameter& parameter : store.entries()) {
      const auto values = store.at(parameter.slot);
      if (!values.empty()) all[prefix + parameter.name].assign(values.begin(), values.end());
    }
  };
  add("", std::as_const(training.model).params());
  std::as_const(training.trainer.optimizer()).each_moment([&](const char* prefix, const auto& store) { add(prefix, store); });
  return all;
}

// Of the same bits, as far as `some` has them.
void expect_same_tensors(Training& some, Training& all) {
  const auto expected = tensors_of_training(all);
  for (const auto& [name, values] : tensors_of_training(some)) EXPECT_EQ(values, expected.at(name)) << name;
}

// Every tensor is there once, whoever moved it, and read by another number of ranks it is what was written.
TEST(CheckpointSave, HasEveryTensorOnceForAnyOtherNumberOfRanks) {
  for (const int64_t experts : {5, 2}) {
    SCOPED_TRACE(experts);
    SharedFolder folder;
    Training writer(&world(), experts);
    writer.state.config.model = writer.config;
    const Checkpoint saved = save_checkpoint(folder / "ranks", writer.state, writer.trainer, {});
    std::map<std::string, int> times;
    for (const auto& entry : fs::directory_iterator(saved.folder))
      if (entry.path().extension() == ".safetensors") {
        const std::string stem = entry.path().stem();
        const SafetensorsFile file(entry.path());
        for (const TensorView& tensor : file.tensors()) ++times[stem.substr(0, stem.find('-')) + " " + tensor.name];
      }
    std::map<std::string, int> once;
    for (const Parameter& parameter : writer.model.table().entries()) {
      once["model " + parameter.name] = 1;
      for (const char* moment : {"optimizer m.", "optimizer v."}) once[moment + parameter.name] = 1;
    }
    EXPECT_EQ(times, once);

    Training alone(nullptr, experts);
    load_trainer(saved, load_train_state(saved), alone.trainer);
    expect_same_tensors(writer, alone);
    alone.state.config.model = alone.config;
    if (world().rank() == 0) save_checkpoint(folder / "alone", alone.state, alone.trainer, {});
    world().any(false, "test");
    const Checkpoint of_one = list_checkpoints(folder / "alone").front();
    Training reader(&world(), experts);
    reader.step();  // other values
    load_trainer(of_one, load_train_state(of_one), reader.trainer);
    expect_same_tensors(reader, alone);
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
