// What a crash may do to checkpoints: nothing to the complete ones.
#include "io/checkpoint_directory.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <nlohmann/json.hpp>

#include "base/rng.h"
#include "error_of.h"
#include "io/json_file.h"
#include "temporary_folder.h"

namespace troupe {
namespace {

namespace fs = std::filesystem;
using test::TemporaryFolder;
using testing::HasSubstr;

constexpr int64_t kElements = 20000;

// A checkpoint whose every value is its step.
void save(const fs::path& root, int64_t step) {
  const std::vector<float> values(kElements, static_cast<float>(step));
  CheckpointWriter writer(root, step);
  writer.add_tensors("model.safetensors", {{"a", DType::kF32, {kElements}, values.data()}});
  writer.add_tensors("optimizer.safetensors", {{"m.a", DType::kF32, {kElements}, values.data()},
                                               {"v.a", DType::kF32, {kElements}, values.data()}});
  writer.add_json("state.json", {{"step", step}});
  writer.commit();
}

void expect_consistent(const Checkpoint& checkpoint) {
  const auto expected = static_cast<float>(checkpoint.step);
  for (const char* name : {"model.safetensors", "optimizer.safetensors"}) {
    const SafetensorsFile file(checkpoint.folder / name);
    for (const TensorView& tensor : file.tensors()) {
      const Tensor values = file.read_f32(tensor.name);
      const auto all = values.as<float>();
      EXPECT_TRUE(std::all_of(all.begin(), all.end(), [&](float value) { return value == expected; })) << name;
    }
  }
  EXPECT_EQ(read_json_file(checkpoint.folder / "state.json")["step"], checkpoint.step);
}

TEST(CheckpointDirectory, TheNewestIsFoundAndOldOnesPruned) {
  const TemporaryFolder root;
  EXPECT_FALSE(newest_complete(root / "nowhere"));
  EXPECT_FALSE(newest_complete(root.path()));
  for (const int64_t step : {100, 200, 300, 1000000000}) save(root.path(), step);
  EXPECT_EQ(newest_complete(root.path())->step, 1000000000);
  prune_checkpoints(root.path(), 2);
  ASSERT_EQ(list_checkpoints(root.path()).size(), 2u);
  EXPECT_EQ(list_checkpoints(root.path())[1].step, 300);
  expect_consistent(*newest_complete(root.path()));
}

TEST(CheckpointDirectory, TheSameStepMayBeSavedAgain) {
  const TemporaryFolder root;
  save(root.path(), 5);
  save(root.path(), 5);
  EXPECT_EQ(list_checkpoints(root.path()).size(), 1u);
  EXPECT_EQ(std::distance(fs::directory_iterator(root.path()), fs::directory_iterator()), 1);
  expect_consistent(*newest_complete(root.path()));
}

TEST(CheckpointDirectory, PruningKeepsTheOnlyCompleteOne) {
  const TemporaryFolder root;
  save(root.path(), 1);
  save(root.path(), 2);
  std::fstream(root / "step-00000002/model.safetensors", std::ios::in | std::ios::out).seekp(500).put('\x7f');
  EXPECT_THAT(problem_of({root / "step-00000002", 2}), HasSubstr("step-00000002/model.safetensors: expected checksum"));
  prune_checkpoints(root.path(), 1);
  EXPECT_EQ(newest_complete(root.path())->step, 1);
}

TEST(CheckpointDirectory, AFileCutAtAnyByteFallsBackToTheOneBefore) {
  const TemporaryFolder root;
  const float value = 2.0f;
  for (const int64_t step : {1, 2}) {
    CheckpointWriter writer(root.path(), step);
    writer.add_tensors("model.safetensors", {{"a", DType::kF32, {1}, &value}});
    writer.add_json("state.json", {{"step", step}});
    writer.commit();
  }
  const fs::path newest = root / "step-00000002";
  ASSERT_EQ(newest_complete(root.path())->step, 2);
  for (const char* name : {"model.safetensors", "state.json", "manifest.json"}) {
    const std::string whole = read_file(newest / name);
    for (size_t size = 0; size < whole.size(); ++size) {
      fs::resize_file(newest / name, size);
      const std::string problem = problem_of({newest, 2});
      // The manifest without its last newline still says everything.
      if (name == std::string("manifest.json") && size + 1 == whole.size()) continue;
      EXPECT_THAT(problem, HasSubstr(name)) << size;
      if (size % 16 != 0) continue;
      EXPECT_EQ(newest_complete(root.path())->step, 1) << name << " " << size;
    }
    fs::remove(newest / name);
    EXPECT_THAT(problem_of({newest, 2}), HasSubstr(name));
    write_file_atomically(newest / name, whole);
    EXPECT_EQ(problem_of({newest, 2}), "");
  }
}

TEST(CheckpointDirectory, WhatCannotBeReadIsNamedAndMayBeSetAside) {
  const TemporaryFolder root;
  for (const int64_t step : {1, 2, 3, 4}) save(root.path(), step);
  fs::remove(root / "step-00000004/manifest.json");
  fs::remove(root / "step-00000003/manifest.json");
  fs::create_directory(root / "step-00000003/manifest.json");  // reading it fails as it does on a broken disk
  const FoundCheckpoints found = find_checkpoints(root.path());
  ASSERT_TRUE(found.newest);
  EXPECT_EQ(found.newest->step, 2);
  ASSERT_EQ(found.broken.size(), 2u);
  EXPECT_THAT(found.broken[0].problem, HasSubstr("step-00000004/manifest.json: expected a readable file"));
  EXPECT_THAT(found.broken[1].problem, HasSubstr("step-00000003/manifest.json: expected a regular file, got a folder"));
  EXPECT_EQ(set_aside(found.broken[0].checkpoint), root / "step-00000004.damaged");
  save(root.path(), 4);
  EXPECT_EQ(set_aside({root / "step-00000004", 4}), root / "step-00000004.damaged-2");
  prune_checkpoints(root.path(), 1);
  EXPECT_TRUE(fs::exists(root / "step-00000004.damaged/model.safetensors"));
  EXPECT_EQ(find_checkpoints(root.path()).newest->step, 2);
}

TEST(CheckpointDirectory, APlaceThatCannotBeListedIsNotAnEmptyOne) {
  const TemporaryFolder folder;
  write_file_atomically(folder / "file", "x");
  fs::create_symlink(folder / "unmounted", folder / "link");
  for (const char* name : {"file", "link"})
    EXPECT_THAT(test::error_of([&] { list_checkpoints(folder / name); }, ErrorCode::kData),
                HasSubstr("expected a folder of checkpoints, got: ")) << name;
}

TEST(CheckpointDirectory, AManifestOfAnotherStepOrWithPathsIsRefused) {
  const auto refusal = [](const std::string& text) {
    return test::error_of([&] { parse_manifest(text, "manifest.json"); });
  };
  EXPECT_EQ(refusal(R"({"format":"troupe.checkpoint/1","step":1,"files":{}})"), "");
  EXPECT_THAT(refusal(R"({"format":"other/1","step":1,"files":{}})"), HasSubstr("format: expected"));
  EXPECT_THAT(refusal(R"({"format":"troupe.checkpoint/1","step":-1,"files":{}})"), HasSubstr("step: expected"));
  EXPECT_THAT(refusal(R"({"format":"troupe.checkpoint/1","step":1})"), HasSubstr("files: expected"));
  EXPECT_THAT(refusal(R"({"format":"troupe.checkpoint/1","step":1,"files":{"../x":{"bytes":1,"xxh3":"0"}}})"),
              HasSubstr("files.../x: expected the name of a file"));
  EXPECT_THAT(refusal(R"({"format":"troupe.checkpoint/1","step":1,"files":{"x":{"bytes":1,"xxh3":"0"}}})"),
              HasSubstr("files.x: xxh3: expected 16 hexadecimal digits"));
  const TemporaryFolder root;
  save(root.path(), 3);
  fs::rename(root / "step-00000003", root / "step-00000004");
  EXPECT_THAT(problem_of({root / "step-00000004", 4}), HasSubstr("step: expected 4, got 3"));
}

TEST(CheckpointDirectory, AbandonedWritersLeaveNothing) {
  const TemporaryFolder root;
  { CheckpointWriter(root.path(), 1).add_json("state.json", {}); }
  EXPECT_TRUE(fs::is_empty(root.path()));
}

TEST(CheckpointDirectory, FiftyKillsLoseNoCompleteCheckpoint) {
  const TemporaryFolder root;
  Rng rng(20);
  int64_t last = 1, killed_while_writing = 0;
  const auto begin = std::chrono::steady_clock::now();
  save(root.path(), last);
  const auto save_us =
      std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::steady_clock::now() - begin).count();
  for (int round = 0; round < 50; ++round) {
    int pipe_ends[2];
    ASSERT_EQ(pipe(pipe_ends), 0);
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      try {
        for (int64_t step = last + 1;; ++step) {
          save(root.path(), step);
          if (write(pipe_ends[1], &step, sizeof step) != sizeof step) _exit(1);  // announced once it is committed
          prune_checkpoints(root.path(), 2);
        }
      } catch (...) {
        _exit(1);  // seen below: not ended by a signal
      }
    }
    close(pipe_ends[1]);
    int64_t announced = last, step = 0;
    for (uint64_t complete = rng.below(3); complete > 0; --complete)  // on a busy machine, too
      if (read(pipe_ends[0], &step, sizeof step) == sizeof step) announced = step;
    usleep(static_cast<useconds_t>(rng.below(2 * static_cast<uint64_t>(save_us) + 1000)));
    ASSERT_EQ(kill(child, SIGKILL), 0);
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(status));
    while (read(pipe_ends[0], &step, sizeof step) == sizeof step) announced = step;
    close(pipe_ends[0]);

    for (const auto& entry : fs::directory_iterator(root.path()))
      killed_while_writing += is_temporary_name(entry.path());
    const std::optional<Checkpoint> newest = newest_complete(root.path());
    ASSERT_TRUE(newest.has_value()) << "round " << round;
    ASSERT_GE(newest->step, announced) << "a complete checkpoint was lost in round " << round;
    ASSERT_LE(newest->step, announced + 1);
    for (const Checkpoint& checkpoint : list_checkpoints(root.path())) {
      EXPECT_EQ(problem_of(checkpoint), "");
      expect_consistent(checkpoint);
    }
    remove_leftovers(root.path());
    for (const auto& entry : fs::directory_iterator(root.path())) EXPECT_FALSE(is_temporary_name(entry.path()));
    last = newest->step;
  }
  EXPECT_GT(last, 10);                  // the children did get to save
  EXPECT_GT(killed_while_writing, 10);  // and the kills did hit them at work
}

}  // namespace
}  // namespace troupe
