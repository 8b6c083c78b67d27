#include "train/run_folder.h"

#include <nlohmann/json.hpp>
#include <utility>

#include "base/error.h"
#include "base/log.h"
#include "base/machine.h"
#include "base/quantity.h"
#include "io/atomic_file.h"
#include "io/provenance.h"
#include "io/toml_config.h"
#include "model/model_directory.h"
#include "model/model_tensors.h"

namespace troupe {
namespace {

namespace fs = std::filesystem;

// What is in a folder besides unfinished checkpoints.
std::optional<fs::path> first_of(const fs::path& folder) {
  std::error_code none;
  for (const auto& entry : fs::directory_iterator(folder, none))
    if (!is_temporary_name(entry.path())) return entry.path();
  return std::nullopt;
}

// Without a checkpoint that can be read: this is either a new run, or one that must not be written over.
void refuse_to_start_over(const RunFiles& files, const FoundCheckpoints& found) {
  constexpr const char* kHint = "nothing was changed; restore it, or name another folder";
  const std::string run = files.folder.string();
  const RunHistory history(files.folder);
  if (!found.broken.empty())
    fail(ErrorCode::kData, "{}: expected a complete checkpoint of this run, got {} that {} not: {} ({})", run,
         found.broken.size(), found.broken.size() == 1 ? "is" : "are", found.broken.front().problem, kHint);
  const auto refuse = [&](const std::string& trace) {
    fail(ErrorCode::kData, "{}: expected the checkpoints of this run, got none, although {} ({})",
         files.checkpoints().string(), trace, kHint);
  };
  const auto is_there = [](const fs::path& path) {
    return fs::symlink_status(path).type() != fs::file_type::not_found;
  };
  if (is_there(files.model())) refuse("its model is there");
  if (const auto remains = first_of(files.checkpoints())) refuse(remains->string() + " is there");
  if (const int64_t step = history.last_checkpoint())
    refuse(fmt::format("{} says that there was one of step {}", history.path().string(), step));
  if (history.has_started()) return;  // and was killed before its first checkpoint
  for (const fs::path& file : {files.metrics(), files.config()})
    if (is_there(file))
      refuse(file.string() + " is there, without a " + history.path().filename().string() + " that tells of a start");
}

}  // namespace

FoundCheckpoints find_start(const RunFiles& files, bool resume) {
  FoundCheckpoints found = find_checkpoints(files.checkpoints());
  if (!found.newest) refuse_to_start_over(files, found);
  if (found.newest && !resume)
    fail(ErrorCode::kUsage, "{}: expected a new run, got one at step {} (--resume goes on with it)",
         files.folder.string(), found.newest->step);
  return found;
}

namespace {

void copy_files(const std::vector<fs::path>& files, const fs::path& to) {
  AtomicDirectory folder(to);
  for (const fs::path& file : files) copy_into(file, folder.path() / file.filename());
  folder.commit(AtomicDirectory::Existing::kReplace);
}

}  // namespace

void copy_model(const fs::path& from, const fs::path& to) {
  std::vector<fs::path> files = model_files(from);
  if (fs::exists(from / kTrainStateFile)) files.push_back(from / kTrainStateFile);
  if (has_tensor_files(from, kAdapterStem))
    for (const fs::path& file : tensor_files(from, kAdapterStem).all()) files.push_back(file);
  copy_files(files, to);
}

void copy_adapter(const fs::path& from, const fs::path& to) {
  copy_files({fs::directory_iterator(from), fs::directory_iterator()}, to);
}

RunFolder::RunFolder(const fs::path& folder, const std::string& precision, Communicator* ranks)
    : files_{folder}, precision_(precision), ranks_(ranks), history_(folder) {
  lead([&] { lock_.emplace(folder, WriterLock::Place::kInside); });
}

void RunFolder::together(const std::function<void()>& work) const { run_together(ranks_, work, "the run's folder"); }

void RunFolder::lead(const std::function<void()>& work) const { run_on_first(ranks_, work, "the run's folder"); }

// All ranks go on from the checkpoint that the first one found.
void RunFolder::share(FoundCheckpoints& found) const {
  if (!ranks_) return;
  const std::string folder =
      ranks_->texts(found.newest ? fs::absolute(found.newest->folder).string() : "", "the run's folder").front();
  const int64_t step = ranks_->all_of(found.newest ? found.newest->step : int64_t{0}, "the run's folder").front();
  if (!leads() && !folder.empty()) found.newest = Checkpoint{.folder = folder, .step = step};
}

TrainState RunFolder::begin(const Start& start, Trainer& trainer, const std::function<void()>& initialize) {
  FoundCheckpoints found;
  lead([&] { found = find_start(files_, start.resume); });
  share(found);
  TrainState state;
  if (found.newest) {
    state = resume(found, start, trainer);
  } else {
    if (start.resume) log::info("{}: no checkpoint yet: starting from the beginning", files_.folder.string());
    initialize();
    state.config = start.config;
    state.data = start.data;
    lead([&] {
      log_.emplace(files_.log());
      history_.append("start", 0, by());
      write_file_atomically(files_.config(), to_toml_in(files_.folder, fields_of(state.config)));
    });
  }
  lead([&] { remove_leftovers(files_.checkpoints()); });
  return state;
}

TrainState RunFolder::resume(const FoundCheckpoints& found, const Start& start, Trainer& trainer) {
  TrainState state;
  std::vector<std::string> changes;
  together([&] {
    state = load_train_state(*found.newest);
    changes = check_resume(state, start.config, start.data, start.where);
    if (start.steps < state.step)
      fail(ErrorCode::kUsage, "{}: train.steps: expected at least the {} that {} has done, got {}", start.where,
           counted(state.step, "update"), files_.folder.string(), start.steps);
    load_trainer(*found.newest, state, trainer);
  });
  lead([&] {
    log_.emplace(files_.log());
    set_aside_broken(found);
  });
  // What config.toml says is what the next updates are made with; without any it stays as it is.
  const bool complete = state.step == start.steps;
  for (const std::string& line : changes)
    log::info("resume: {}{}", line, complete ? " (changes nothing: all updates are done)" : "");
  if (!complete) state.config = start.config;
  newest_ = *found.newest;
  log::info("resume: {} done, from {}", counted(state.step, "step"), newest_.folder.string());
  lead([&] {
    if (!complete || !fs::exists(files_.config()))
      write_file_atomically(files_.config(), to_toml_in(files_.folder, fields_of(state.config)));
    nlohmann::ordered_json more = by();
    if (!complete && !changes.empty()) more["changes"] = changes;
    history_.append("resume", state.step, more);
    if (state.config.train.keep_best && state.best.step >= 0) restore_best(state);
  });
  return state;
}

// best/ is the export of a checkpoint: a process that was killed in between left an older one, and one that went on
// beyond the newest checkpoint a later one.
void RunFolder::restore_best(const TrainState& state) const {
  const int64_t step = state.best.step;
  if (has_weights(files_.best()) && load_train_state({files_.best(), step}).step == step) return;
  for (const Checkpoint& checkpoint : list_checkpoints(files_.checkpoints()))
    if (checkpoint.step == step && problem_of(checkpoint).empty()) return copy_model(checkpoint.folder, files_.best());
  log::warning(
      "{}: expected the model of step {}, the best so far, got none or another, and its checkpoint is gone: "
      "it is written again at the next validation that is better",
      files_.best().string(), step);
}

void RunFolder::set_aside_broken(const FoundCheckpoints& found) const {
  const int64_t step = found.newest->step;
  for (const BrokenCheckpoint& broken : found.broken)
    log::warning("{}: this checkpoint is not complete, and is set aside as {}", broken.problem,
                 set_aside(broken.checkpoint).filename().string());
  if (!found.broken.empty())
    log::warning("going on from step {}, not from step {}: what came after it is computed again", step,
                 found.broken.front().checkpoint.step);
  if (const int64_t last = history_.last_checkpoint(); found.broken.empty() && last > step)
    log::warning(
        "{} says that there was a checkpoint of step {}, which is gone: going on from step {}; what came "
        "after it is computed again",
        history_.path().string(), last, step);
}

nlohmann::ordered_json RunFolder::by() const { return {{"provenance", to_json(provenance(precision_))}}; }

void RunFolder::record(std::string_view event, const TrainState& state, nlohmann::ordered_json more) const {
  if (!leads()) return;
  more.update({{"time_s", state.totals.seconds}, {"peak_memory_bytes", peak_memory_bytes()}});
  history_.append(event, state.step, more);
}

void RunFolder::record(std::string_view event, const TrainState& state) const {
  record(event, state, nlohmann::ordered_json::object());
}

void RunFolder::record_failure(const Error& error, const TrainState& state) {
  log::write_to_file(std::string("error: ") + error.what());
  const auto attempt = [](const auto& work) {
    try {
      work();
    } catch (const Error& another) {
      log::warning("{}", another.what());
    }
  };
  // The failure is the last event: that of a checkpoint on its way comes before.
  if (!ranks_ || dynamic_cast<const SharedError*>(&error)) attempt([&] { finish_saving(); });
  attempt([&] {
    record("failed", state, {{"error", error.what()}, {"exit_code", static_cast<int>(error.code())}});
  });
}

bool RunFolder::has_room_for_copy(Trainer& trainer) {
  const CopyRoom room = CheckpointSave::room_for_copy(trainer);
  if (!room.fits() && !std::exchange(told_of_room_, true))
    log::info("checkpoints: training waits while they are written: a copy takes {}, of which {} are free",
              short_bytes(static_cast<double>(room.needed_bytes)), short_bytes(static_cast<double>(*room.free_bytes)));
  return room.fits();
}

void RunFolder::save(const TrainState& state, Trainer& trainer, const fs::path& tokenizer_json, SaveMode mode) {
  finish_saving();
  if (mode == SaveMode::kInBackground && !has_room_for_copy(trainer)) mode = SaveMode::kNow;
  saving_ = std::make_unique<CheckpointSave>(files_.checkpoints(), state, trainer, tokenizer_json, mode,
                                             [this, state](const Checkpoint&) {
                                               record("checkpoint", state);
                                               prune_checkpoints(files_.checkpoints(), state.config.train.keep_last);
                                             });
  if (mode == SaveMode::kNow) finish_saving();
}

void RunFolder::finish_saving() {
  if (const std::unique_ptr<CheckpointSave> saving = std::move(saving_)) newest_ = saving->finish();
}

void RunFolder::go_on_saving() {
  if (!saving_) return;
  std::unique_ptr<CheckpointSave> saving = std::move(saving_);  // gone if it throws
  if (saving->advance())
    newest_ = saving->finish();
  else
    saving_ = std::move(saving);
}

void RunFolder::export_model(const Checkpoint& checkpoint, const fs::path& destination) const {
  lead([&] { copy_model(checkpoint.folder, destination); });
}

}  // namespace troupe
