// The folder of a run: what is where, who may write to it, and what must never be written over. Knows no training step.
//
//   RUN/config.toml            every setting, resolved
//   RUN/metrics.jsonl          one line per log interval, validation set, figure of a task and sample
//   RUN/summary.json           how the work was shared, and what that took
//   RUN/train.log              what was said meanwhile, with the time
//   RUN/history.jsonl          when it was started, resumed, saved and ended, by which program on which machine
//   RUN/checkpoints/step-N/    newest train.keep_last (docs/formats/checkpoint.md)
//   RUN/model/                 the trained model, once the run is complete
//   RUN/best/                  the model of the best validation so far (train.keep_best)
//   RUN/adapter/               of a fine-tuning of adapters: they alone, as PEFT has them
//   RUN/tokenizer.json         of a fine-tuning of a model that has its tokenizer in other files
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/log_file.h"
#include "io/checkpoint_directory.h"
#include "io/tokenizer_files.h"
#include "io/writer_lock.h"
#include "train/checkpoint.h"
#include "train/checkpoint_save.h"
#include "train/run_history.h"

namespace troupe {

// Its names, for those who only read.
struct RunFiles {
  std::filesystem::path folder;

  std::filesystem::path config() const { return folder / "config.toml"; }
  std::filesystem::path metrics() const { return folder / "metrics.jsonl"; }
  std::filesystem::path summary() const { return folder / "summary.json"; }
  std::filesystem::path log() const { return folder / "train.log"; }
  std::filesystem::path checkpoints() const { return folder / "checkpoints"; }
  std::filesystem::path model() const { return folder / "model"; }
  std::filesystem::path best() const { return folder / "best"; }
  std::filesystem::path adapter() const { return folder / "adapter"; }
  std::filesystem::path tokenizer() const { return folder / kTokenizerFile; }
};

// What there is to go on from: nothing in a new run. Throws kUsage for a run with checkpoints, unless `resume`; kData
// for the remains of a run of which no checkpoint can be read, which must not be written over. Changes nothing.
FoundCheckpoints find_start(const RunFiles& files, bool resume);

// Makes `to` the model in `from`, with what it says of its training (train_state.json), whatever was there before.
void copy_model(const std::filesystem::path& from, const std::filesystem::path& to);
// Makes `to` the adapter in `from`: all its files, whatever was there before.
void copy_adapter(const std::filesystem::path& from, const std::filesystem::path& to);

class RunFolder {
 public:
  // One writer at a time: throws kEnvironment naming the other. Of several ranks, which make the same calls, the first
  // writes; what fails there fails on all.
  RunFolder(const std::filesystem::path& folder, const std::string& precision, Communicator* ranks = nullptr);

  const RunFiles& files() const { return files_; }
  // The newest checkpoint that is whole; step -1 if there is none yet.
  const Checkpoint& newest() const { return newest_; }
  // Of that, or of the one that is being written.
  int64_t saved_step() const { return saving_ ? saving_->step() : newest_.step; }

  struct Start {
    RunConfig config;                   // with which the run shall go on
    std::string where;                  // of the configuration, for messages
    std::vector<DatasetIdentity> data;  // that it reads
    int64_t steps = 0;                  // updates of the whole run
    bool resume = false;                // from the newest complete checkpoint, if there is one
  };
  // Puts the trainer where the newest checkpoint left it; or at the beginning, where `initialize` fills its parameters.
  // Throws as find_start(), and kUsage if going on would not continue the same run.
  TrainState begin(const Start& start, Trainer& trainer, const std::function<void()>& initialize);

  bool leads() const { return troupe::leads(ranks_); }

  // A line of history.jsonl; of the first rank alone, without a word to the others.
  void record(std::string_view event, const TrainState& state, nlohmann::ordered_json more) const;
  void record(std::string_view event, const TrainState& state) const;
  // That the run ends with this error, which main() says; in its log, too. A checkpoint that is being written becomes
  // whole, if all ranks know of the error. Throws nothing of its own: the error matters more.
  void record_failure(const Error& error, const TrainState& state);

  // Writes a checkpoint, then removes all but the newest train.keep_last; after the one that is being written. In the
  // background training may go on at once; where there is no memory for a copy it waits, which the log says. What goes
  // wrong there, the next of these calls throws.
  void save(const TrainState& state, Trainer& trainer, const std::filesystem::path& tokenizer_json, SaveMode mode);
  void go_on_saving();   // after every update: without waiting
  void finish_saving();  // waits
  // Makes `destination` the model of a checkpoint.
  void export_model(const Checkpoint& checkpoint, const std::filesystem::path& destination) const;

 private:
  void lead(const std::function<void()>& work) const;    // on the first rank
  void together(const std::function<void()>& work) const;  // on all
  void share(FoundCheckpoints& found) const;
  TrainState resume(const FoundCheckpoints& found, const Start& start, Trainer& trainer);
  void set_aside_broken(const FoundCheckpoints& found) const;
  void restore_best(const TrainState& state) const;
  nlohmann::ordered_json by() const;
  bool has_room_for_copy(Trainer& trainer);

  RunFiles files_;
  std::string precision_;
  Communicator* ranks_;
  std::optional<WriterLock> lock_;
  std::optional<log::File> log_;  // once the run is this process's
  RunHistory history_;
  Checkpoint newest_{.folder = {}, .step = -1};
  bool told_of_room_ = false;
  std::unique_ptr<CheckpointSave> saving_;  // last: it waits for its threads
};

}  // namespace troupe
