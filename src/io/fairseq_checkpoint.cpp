#include "io/fairseq_checkpoint.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <set>

#include "base/error.h"

namespace troupe {
namespace fs = std::filesystem;
namespace {

using Kind = PickleValue::Kind;

constexpr std::string_view kShared = "-shared.pt", kRank = "-rank-", kSuffix = ".pt", kExperts = ".experts.";

std::optional<int64_t> parse_number(std::string_view digits) {
  int64_t number = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
  if (error != std::errc() || end != digits.data() + digits.size() || number < 0) return std::nullopt;
  return number;
}

// NAME of "NAME-rank-12.pt" and 12.
std::optional<std::pair<std::string, int64_t>> split_rank(std::string_view file) {
  const size_t at = file.rfind(kRank);
  if (at == file.npos || !file.ends_with(kSuffix)) return std::nullopt;
  const size_t begin = at + kRank.size();
  if (begin + kSuffix.size() > file.size()) return std::nullopt;
  const auto rank = parse_number(file.substr(begin, file.size() - kSuffix.size() - begin));
  if (!rank) return std::nullopt;
  return std::pair(std::string(file.substr(0, at)), *rank);
}

// The prefix NAME with its folder if the path names a set of files.
std::optional<fs::path> prefix_of(const fs::path& path) {
  const std::string file = path.filename().string();
  const fs::path folder = path.parent_path();
  if (file.ends_with(kShared)) return folder / file.substr(0, file.size() - kShared.size());
  if (const auto split = split_rank(file)) return folder / split->first;
  if (fs::exists(path)) return std::nullopt;
  if (fs::exists(path.string() + std::string(kShared))) return path;
  if (file.ends_with(kSuffix)) {
    const fs::path stem = folder / file.substr(0, file.size() - kSuffix.size());
    if (fs::exists(stem.string() + std::string(kShared))) return stem;
  }
  return std::nullopt;
}

// The one checkpoint in a folder.
fs::path only_checkpoint_in(const fs::path& folder) {
  std::set<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder)) {
    const std::string file = entry.path().filename().string();
    if (!file.ends_with(kSuffix)) continue;
    const auto prefix = prefix_of(entry.path());
    names.insert(prefix ? prefix->filename().string() + std::string(kShared) : file);
  }
  if (names.size() == 1) return folder / *names.begin();
  if (names.empty())
    fail(ErrorCode::kData, "{}: expected model.pt, or NAME-shared.pt with NAME-rank-R.pt, got no .pt file",
         folder.string());
  fail(ErrorCode::kData, "{}: expected one checkpoint, got {} (name one of them)", folder.string(),
       fmt::join(names, ", "));
}

std::map<int64_t, fs::path> rank_files(const fs::path& prefix) {
  std::map<int64_t, fs::path> files;
  const fs::path folder = prefix.has_parent_path() ? prefix.parent_path() : fs::path(".");
  for (const auto& entry : fs::directory_iterator(folder))
    if (const auto split = split_rank(entry.path().filename().string()); split && split->first == prefix.filename())
      if (!files.emplace(split->second, entry.path()).second)
        fail(ErrorCode::kData, "{}: expected one file of rank {}, got two", entry.path().string(), split->second);
  return files;
}

}  // namespace

FairseqCheckpoint::FairseqCheckpoint(const fs::path& path) {
  open(fs::is_directory(path) ? only_checkpoint_in(path) : path);
}

void FairseqCheckpoint::open(const fs::path& path) {
  folder_ = path.has_parent_path() ? path.parent_path() : fs::path(".");
  const std::optional<fs::path> prefix = prefix_of(path);
  if (!prefix && !fs::exists(path))
    fail(ErrorCode::kData,
         "{}: expected a checkpoint (a .pt file), or the prefix of -shared.pt and -rank-R.pt files, got "
         "nothing of this name",
         path.string());
  if (!prefix) {
    files_.push_back(std::make_unique<TorchFile>(path));
    add_tensors(0, 0);
  } else {
    files_.push_back(std::make_unique<TorchFile>(prefix->string() + std::string(kShared)));
    add_tensors(0, 0);
    number_experts(*prefix);
  }
  check_settings();
}

// Opens the rank files and numbers their experts globally.
void FairseqCheckpoint::number_experts(const fs::path& prefix) {
  const std::map<int64_t, fs::path> ranks = rank_files(prefix);
  if (ranks.empty())
    fail(ErrorCode::kData, "{}-rank-0.pt: expected the experts beside {}, got no file of this kind", prefix.string(),
         where());
  std::vector<int64_t> missing;
  for (int64_t rank = 0; rank <= ranks.rbegin()->first && missing.size() < 8; ++rank)
    if (!ranks.contains(rank)) missing.push_back(rank);
  if (!missing.empty())
    fail(ErrorCode::kData, "{}-rank-R.pt: expected every rank from 0 to {}, got none of rank {}", prefix.string(),
         ranks.rbegin()->first, fmt::join(missing, ", "));
  num_ranks_ = static_cast<int64_t>(ranks.size());
  for (const auto& [rank, file] : ranks) {
    files_.push_back(std::make_unique<TorchFile>(file));
    add_tensors(files_.size() - 1, rank);
  }
}

void FairseqCheckpoint::add_tensors(size_t file, int64_t rank) {
  const TorchFile& torch = *files_[file];
  const Pickle& pickle = torch.pickle();
  const PickleValue* model = pickle.find(pickle.root(), "model");
  if (!model || model->kind != Kind::kDict)
    fail(ErrorCode::kData, "{}: model: expected a dict of tensors, got {}", torch.where(),
         model ? name_of(model->kind) : "nothing");
  int64_t local_experts = 0;
  const bool is_rank_file = file > 0;
  for (const auto& [key, value] : pickle.pairs(*model)) {
    if (key->kind != Kind::kString)
      fail(ErrorCode::kData, "{}: model: expected names of tensors, got {}", torch.where(), name_of(key->kind));
    TorchTensor tensor = torch.tensor(key->text, *value);
    const size_t at = tensor.name.find(kExperts);
    if (at != tensor.name.npos) {
      const size_t begin = at + kExperts.size(), end = std::min(tensor.name.find('.', begin), tensor.name.size());
      const auto local = parse_number(std::string_view(tensor.name).substr(begin, end - begin));
      if (!local || *local > INT32_MAX)
        fail(ErrorCode::kData, "{}: {}: expected an expert's number after experts., got none", torch.where(),
             key->text);
      local_experts = std::max(local_experts, *local + 1);
      if (is_rank_file && rank > 0 && *local >= experts_per_file_)
        fail(ErrorCode::kData, "{}: {}: expected {} experts in every rank file, as in the first, got more",
             torch.where(), key->text, experts_per_file_);
      tensor.name.replace(begin, end - begin, std::to_string(rank * experts_per_file_ + *local));
    } else if (is_rank_file) {
      fail(ErrorCode::kData, "{}: {}: expected only experts in a rank file, got another tensor", torch.where(),
           key->text);
    }
    if (!index_.emplace(tensor.name, tensors_.size()).second)
      fail(ErrorCode::kData, "{}: {}: expected each tensor once, got it twice", torch.where(), tensor.name);
    tensors_.push_back(std::move(tensor));
    file_of_.push_back(file);
  }
  if (is_rank_file && rank == 0) experts_per_file_ = local_experts;
  if (is_rank_file && local_experts != experts_per_file_)
    fail(ErrorCode::kData, "{}: expected {} experts in every rank file, as in the first, got {}", torch.where(),
         experts_per_file_, local_experts);
  num_experts_ = std::max(num_experts_, is_rank_file ? (rank + 1) * experts_per_file_ : local_experts);

  const auto skip = [&](const std::string& what) {
    ++skipped_.try_emplace(what, torch.where(), 0).first->second.second;
  };
  if (pickle.find(pickle.root(), "last_optimizer_state"))
    skip("last_optimizer_state: not read (optimizer states are not imported)");
  for (const auto& [name, count] : pickle.inert()) skip(name + ": met in the pickle and not executed");
}

std::vector<std::string> FairseqCheckpoint::notes() const {
  std::vector<std::string> lines;
  for (const auto& [what, place] : skipped_)
    lines.push_back(place.second == 1 ? fmt::format("{}: {}", place.first, what)
                                      : fmt::format("{} and {} more: {}", place.first, place.second - 1, what));
  return lines;
}

void FairseqCheckpoint::check_settings() {
  const Pickle& pickle = files_[0]->pickle();
  for (const char* key : {"cfg", "args"})
    if (const PickleValue* found = pickle.find(pickle.root(), key); found && found->kind != Kind::kNone) {
      if (pickle.pairs(*found).empty())
        fail(ErrorCode::kData, "{}: {}: expected the training settings, got {} without any", where(), key,
             name_of(found->kind));
      const auto announced = integer("model", "moe_expert_count");
      if (is_sharded() && announced && *announced != num_experts_)
        fail(ErrorCode::kData, "{}: expected {} experts (model.moe_expert_count), got {} in {} rank files of {} each",
             where(), *announced, num_experts_, num_ranks_, experts_per_file_);
      return;
    }
  fail(ErrorCode::kData, "{}: expected the training settings in cfg or args, got neither", where());
}

const TorchTensor* FairseqCheckpoint::find(const std::string& name) const {
  const auto found = index_.find(name);
  return found == index_.end() ? nullptr : &tensors_[found->second];
}

void FairseqCheckpoint::read_f32(const TorchTensor& tensor, std::span<float> out) const {
  files_[file_of_[index_.at(tensor.name)]]->read_f32(tensor, out);
}

const PickleValue* FairseqCheckpoint::setting(std::string_view section, std::string_view key) const {
  const Pickle& pickle = files_[0]->pickle();
  const PickleValue* found = nullptr;
  if (const PickleValue* cfg = pickle.find(pickle.root(), "cfg"); cfg && cfg->kind != Kind::kNone) {
    const PickleValue* part = pickle.find(*cfg, section);
    found = part ? pickle.find(*part, key) : nullptr;
  } else if (const PickleValue* args = pickle.find(pickle.root(), "args")) {
    found = pickle.find(*args, key);
  }
  return found && found->kind != Kind::kNone ? found : nullptr;
}

std::optional<double> FairseqCheckpoint::number(std::string_view section, std::string_view key) const {
  const PickleValue* found = setting(section, key);
  if (!found) return std::nullopt;
  if (found->kind == Kind::kFloat) return found->real;
  if (found->kind == Kind::kInt) return static_cast<double>(found->integer);
  fail(ErrorCode::kData, "{}: {}.{}: expected a number, got {}", where(), section, key, name_of(found->kind));
}

std::optional<int64_t> FairseqCheckpoint::integer(std::string_view section, std::string_view key) const {
  const PickleValue* found = setting(section, key);
  if (!found) return std::nullopt;
  if (found->kind == Kind::kInt) return found->integer;
  if (found->kind == Kind::kFloat && std::abs(found->real) < 0x1p53 && found->real == std::trunc(found->real))
    return static_cast<int64_t>(found->real);
  fail(ErrorCode::kData, "{}: {}.{}: expected an integer, got {}", where(), section, key, name_of(found->kind));
}

std::optional<bool> FairseqCheckpoint::boolean(std::string_view section, std::string_view key) const {
  const PickleValue* found = setting(section, key);
  if (!found) return std::nullopt;
  if (found->kind == Kind::kBool) return found->integer != 0;
  fail(ErrorCode::kData, "{}: {}.{}: expected True or False, got {}", where(), section, key, name_of(found->kind));
}

std::optional<std::string> FairseqCheckpoint::text(std::string_view section, std::string_view key) const {
  const PickleValue* found = setting(section, key);
  if (!found) return std::nullopt;
  if (found->kind == Kind::kString) return found->text;
  fail(ErrorCode::kData, "{}: {}.{}: expected a string, got {}", where(), section, key, name_of(found->kind));
}

}  // namespace troupe
