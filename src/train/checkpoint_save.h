// A checkpoint on its way to the disk: every process writes the tensors that it moves, then the first one writes index
// and manifest, which make it whole. In the background both run in a thread, on a copy, while training goes on; a crash
// before the end leaves the checkpoints of before.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <future>
#include <optional>
#include <string>
#include <vector>

#include "io/checkpoint_directory.h"
#include "tensor/buffer.h"
#include "train/checkpoint.h"

namespace troupe {

enum class SaveMode { kNow, kInBackground };

// Memory for a copy of what all processes of a machine would write, where there is least.
struct CopyRoom {
  int64_t needed_bytes = 0;
  std::optional<int64_t> free_bytes;  // none: the system does not say
  bool fits() const { return !free_bytes || needed_bytes <= *free_bytes; }
};

class CheckpointSave {
 public:
  // Called once it is whole, on the first rank, in the background too.
  using Committed = std::function<void(const Checkpoint&)>;

  // Where ranks share the model, all make the same calls. In the background everything is copied here; else it is
  // written in finish(), and nothing may change before.
  CheckpointSave(const std::filesystem::path& root, const TrainState& state, Trainer& trainer,
                 const std::filesystem::path& tokenizer_json, SaveMode mode, Committed committed = {});
  CheckpointSave(const CheckpointSave&) = delete;
  CheckpointSave& operator=(const CheckpointSave&) = delete;

  // Where ranks share the model, all make the same call and get the same answer.
  static CopyRoom room_for_copy(Trainer& trainer);

  int64_t step() const { return done_.step; }
  // Goes on with what is ready, without waiting for a disk; true once the checkpoint is whole. Throws what writing it
  // threw, on all ranks; then nothing is left of it.
  bool advance();
  // Waits.
  Checkpoint finish();

 private:
  // The tensors of one file.
  struct Part {
    std::string stem;  // "model"
    std::vector<TensorToWrite> tensors;
  };
  struct Written {
    FileSummary file;
    std::string names;  // of its tensors, one a line
  };
  template <class F>
  auto later(const F& work) const {
    return std::async(mode_ == SaveMode::kNow ? std::launch::deferred : std::launch::async, work);
  }
  static std::vector<Part> parts_of(Trainer& trainer);
  static int64_t bytes_of_copy(const std::vector<Part>& parts);
  void copy_parts();
  std::string name_of(const Part& part, int rank) const;
  std::vector<Written> write_parts() const;
  // Both wait for a thread.
  void index_parts();
  void end();

  Communicator* ranks_;
  SaveMode mode_;
  Committed committed_;
  std::optional<CheckpointWriter> writer_;  // the first rank's
  std::filesystem::path folder_;            // in which all write
  std::vector<Part> parts_;
  RawBuffer copy_;
  Checkpoint done_;
  // Last, as they are waited for first. The one that is valid is what runs.
  std::future<std::vector<Written>> writing_;
  std::future<Checkpoint> committing_;
};

}  // namespace troupe
