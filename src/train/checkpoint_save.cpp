#include "train/checkpoint_save.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <nlohmann/json.hpp>
#include <sstream>
#include <utility>

#include "base/machine.h"
#include "base/threads.h"
#include "io/tokenizer_files.h"
#include "model/model_directory.h"

namespace troupe {
namespace {

namespace fs = std::filesystem;

constexpr const char* kSaving = "checkpoint";  // to the watchdog
constexpr int64_t kCopyChunk = 1 << 20;

template <class T>
void append(std::vector<TensorToWrite>& list, const std::string& prefix, const ParameterStore<T>& moments) {
  for (TensorToWrite& tensor : tensors_of(moments)) {
    tensor.name = prefix + tensor.name;
    list.push_back(std::move(tensor));
  }
}

std::vector<TensorToWrite> moments_of(Trainer& trainer) {
  std::vector<TensorToWrite> moments;
  trainer.optimizer().each_moment([&](const char* prefix, const auto& store) { append(moments, prefix, store); });
  return moments;
}

// Of several ranks each writes what it moves; what adapters stand beside is moved by nobody.
std::vector<TensorToWrite> own_tensors(const ParameterStore<float>& store, const RankShares* shares) {
  std::vector<TensorToWrite> tensors = tensors_of(store);
  if (shares)
    std::erase_if(tensors, [&](const TensorToWrite& tensor) { return !shares->is_own(store.table().find(tensor.name)); });
  return tensors;
}

std::vector<TensorToWrite> weights_of(Trainer& trainer) {
  LanguageModel& model = trainer.model();
  if (!trainer.adapters() || !model.ranks()) return own_tensors(model.params(), trainer.shares());
  const RankShares frozen(model.table(), [](const Parameter&) { return false; }, *model.ranks());
  return own_tensors(model.params(), &frozen);
}

int64_t bytes_of(const TensorToWrite& tensor) {
  return num_elements(tensor.shape) * static_cast<int64_t>(size_of(tensor.dtype));
}

void add_model(CheckpointWriter& writer, const LanguageModel& model, const fs::path& tokenizer_json) {
  writer.add_file("config.json", [&](FileWriter& file) { file.write(config_json(model.config())); });
  if (fs::exists(tokenizer_json))
    for (const char* name : kTokenizerFiles)
      if (const fs::path source = tokenizer_json.parent_path() / name; fs::exists(source))
        writer.add_file(name, [&](FileWriter& file) { file.write(read_file(source)); });
}

template <class T>
bool is_ready(const std::future<T>& future) {
  return future.wait_for(std::chrono::seconds(0)) != std::future_status::timeout;
}

}  // namespace

CheckpointSave::CheckpointSave(const fs::path& root, const TrainState& state, Trainer& trainer,
                               const fs::path& tokenizer_json, SaveMode mode, Committed committed)
    : ranks_(trainer.model().ranks()),
      mode_(mode),
      committed_(std::move(committed)),
      parts_(parts_of(trainer)),
      done_{.folder = {}, .step = state.step} {
  run_together(
      ranks_,
      [&] {
        if (mode_ == SaveMode::kInBackground) copy_parts();
        if (ranks_ && ranks_->rank() > 0) return;
        writer_.emplace(root, state.step);
        add_model(*writer_, trainer.model(), tokenizer_json);
        writer_->add_json(kTrainStateFile, to_json(state));
        folder_ = fs::absolute(writer_->path());
      },
      kSaving);
  if (ranks_) folder_ = ranks_->texts(folder_.string(), kSaving).front();
  writing_ = later([this] { return write_parts(); });
}

std::vector<CheckpointSave::Part> CheckpointSave::parts_of(Trainer& trainer) {
  std::vector<Part> parts = {{"model", weights_of(trainer)}, {kMomentsStem, moments_of(trainer)}};
  if (trainer.adapters()) parts.push_back({kAdapterStem, own_tensors(trainer.trained(), trainer.shares())});
  return parts;
}

int64_t CheckpointSave::bytes_of_copy(const std::vector<Part>& parts) {
  int64_t size = 0;
  for (const Part& part : parts)
    for (const TensorToWrite& tensor : part.tensors) size += bytes_of(tensor);
  return size;
}

void CheckpointSave::copy_parts() {
  copy_ = RawBuffer(bytes_of_copy(parts_));
  auto* to = static_cast<std::byte*>(copy_.data());
  for (Part& part : parts_)
    for (TensorToWrite& tensor : part.tensors) {
      const auto* const from = static_cast<const std::byte*>(tensor.fetch ? tensor.fetch() : tensor.data);
      parallel_chunks(bytes_of(tensor), kCopyChunk, [&](int64_t begin, int64_t end) {
        std::memcpy(to + begin, from + begin, static_cast<size_t>(end - begin));
      });
      tensor.fetch = nullptr, tensor.data = to;
      to += bytes_of(tensor);
    }
}

// One file of one process; of several ranks parts, which an index names.
std::string CheckpointSave::name_of(const Part& part, int rank) const {
  return ranks_ ? fmt::format("{}-{:05}-of-{:05}.safetensors", part.stem, rank + 1, ranks_->size())
                : part.stem + ".safetensors";
}

std::vector<CheckpointSave::Written> CheckpointSave::write_parts() const {
  std::vector<Written> all;
  for (const Part& part : parts_) {
    Written& written = all.emplace_back();
    FileWriter file(folder_ / name_of(part, ranks_ ? ranks_->rank() : 0));
    write_safetensors(file, part.tensors);
    written.file = file.close();
    for (const TensorToWrite& tensor : part.tensors) written.names += tensor.name + '\n';
  }
  return all;
}

void CheckpointSave::index_parts() {
  std::vector<Written> own;
  run_together(
      ranks_, [&] { own = writing_.get(); }, kSaving);
  copy_ = {};
  std::vector<std::pair<std::string, nlohmann::ordered_json>> indices;  // by name of the file
  for (size_t i = 0; i < parts_.size(); ++i) {
    if (!ranks_) {
      writer_->add_written(name_of(parts_[i], 0), own[i].file);
      continue;
    }
    const std::vector<FileSummary> files = ranks_->all_of(own[i].file, kSaving);
    const std::vector<std::string> names = ranks_->texts(own[i].names, kSaving);
    if (!writer_) continue;
    nlohmann::ordered_json weight_map = nlohmann::ordered_json::object();
    for (int r = 0; r < ranks_->size(); ++r) {
      writer_->add_written(name_of(parts_[i], r), files[static_cast<size_t>(r)]);
      std::istringstream lines(names[static_cast<size_t>(r)]);
      for (std::string name; std::getline(lines, name);) weight_map[name] = name_of(parts_[i], r);
    }
    indices.push_back({tensors_index_name(parts_[i].stem), {{"weight_map", std::move(weight_map)}}});
  }
  committing_ = later([this, indices = std::move(indices)] {
    if (!writer_) return done_;
    for (const auto& [name, index] : indices) writer_->add_json(name, index);
    const Checkpoint whole = writer_->commit();
    if (committed_) committed_(whole);
    return whole;
  });
}

void CheckpointSave::end() {
  run_together(
      ranks_, [&] { done_ = committing_.get(); }, kSaving);
  if (ranks_) done_.folder = ranks_->texts(done_.folder.string(), kSaving).front();
}

bool CheckpointSave::advance() {
  const auto all_ready = [&] {
    const bool own = writing_.valid() ? is_ready(writing_) : is_ready(committing_);
    return ranks_ ? !ranks_->any(!own, kSaving) : own;
  };
  if (writing_.valid() && all_ready()) index_parts();
  if (!committing_.valid() || !all_ready()) return false;
  end();
  return true;
}

Checkpoint CheckpointSave::finish() {
  if (writing_.valid()) index_parts();
  if (committing_.valid()) end();
  return done_;
}

CopyRoom CheckpointSave::room_for_copy(Trainer& trainer) {
  CopyRoom room{.needed_bytes = bytes_of_copy(parts_of(trainer)), .free_bytes = read_machine().free_bytes()};
  Communicator* const ranks = trainer.model().ranks();
  if (!ranks) return room;
  // Ranks of one machine share its memory. What it has is read everywhere before anybody copies.
  const std::vector<std::string> hosts = ranks->texts(host_name(), kSaving);
  const std::vector<int64_t> needed = ranks->all_of(room.needed_bytes, kSaving);
  room.needed_bytes = 0;
  for (size_t r = 0; r < hosts.size(); ++r)
    if (hosts[r] == hosts[static_cast<size_t>(ranks->rank())]) room.needed_bytes += needed[r];
  const std::vector<CopyRoom> all = ranks->all_of(room, kSaving);
  const auto tight = std::find_if(all.begin(), all.end(), [](const CopyRoom& one) { return !one.fits(); });
  return tight == all.end() ? room : *tight;
}

Checkpoint save_checkpoint(const fs::path& root, const TrainState& state, Trainer& trainer,
                           const fs::path& tokenizer_json) {
  return CheckpointSave(root, state, trainer, tokenizer_json, SaveMode::kNow).finish();
}

}  // namespace troupe
