// Checkpoints of fairseq's language models: one dense file, or NAME-shared.pt with all NAME-rank-R.pt of a
// Mixture-of-Experts model (docs/formats/fairseq.md). Tensors keep fairseq's names, experts get global numbers
// (fairseq moe_checkpoint_utils.py, branch moe: rank * experts per file + local number), and are read lazily.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "io/torch_file.h"

namespace troupe {

class FairseqCheckpoint {
 public:
  // `path`: a .pt file; the prefix NAME (or NAME.pt), NAME-shared.pt or any NAME-rank-R.pt of a set; or a folder with
  // exactly one of these. Throws kData naming the file: none or several there, ranks missing, files that hold different
  // numbers of experts, a tensor twice, no model inside.
  explicit FairseqCheckpoint(const std::filesystem::path& path);

  const std::vector<TorchTensor>& tensors() const { return tensors_; }
  const TorchTensor* find(const std::string& name) const;  // nullptr if absent
  void read_f32(const TorchTensor& tensor, std::span<float> out) const;

  // A setting from `cfg` (in a section such as "model" or "criterion") or, in old files, from the flat `args`.
  // nullopt if absent or None; kData naming file and setting if of another type. Numbers may be stored as either kind.
  std::optional<int64_t> integer(std::string_view section, std::string_view key) const;
  std::optional<double> number(std::string_view section, std::string_view key) const;
  std::optional<bool> boolean(std::string_view section, std::string_view key) const;
  std::optional<std::string> text(std::string_view section, std::string_view key) const;

  bool is_sharded() const { return num_ranks_ > 0; }    // -shared.pt with -rank-R.pt
  int64_t num_ranks() const { return num_ranks_; }      // rank files; 0 for a dense file
  int64_t num_experts() const { return num_experts_; }  // per MoE layer, counted from the names; 0 if there are none
  const std::string& where() const { return files_.front()->where(); }  // the file that holds the settings
  const std::filesystem::path& folder() const { return folder_; }
  // What was not read, one line each: optimizer state, objects of unknown classes.
  std::vector<std::string> notes() const;

 private:
  void open(const std::filesystem::path& path);
  void add_tensors(size_t file, int64_t rank);
  void number_experts(const std::filesystem::path& prefix);
  void check_settings();
  const PickleValue* setting(std::string_view section, std::string_view key) const;

  std::filesystem::path folder_;
  std::vector<std::unique_ptr<TorchFile>> files_;  // [0] has the settings
  std::vector<TorchTensor> tensors_;
  std::vector<size_t> file_of_;  // of each tensor
  std::unordered_map<std::string, size_t> index_;
  int64_t num_ranks_ = 0, num_experts_ = 0, experts_per_file_ = 0;
  // What was not read: its description, where first, and in how many files.
  std::map<std::string, std::pair<std::string, int64_t>> skipped_;
};

}  // namespace troupe
