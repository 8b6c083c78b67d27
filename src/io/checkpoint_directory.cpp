#include "io/checkpoint_directory.h"

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/log.h"
#include "io/checksum.h"
#include "io/json_file.h"
#include "io/json_text.h"
#include "io/mapped_file.h"

namespace troupe {
namespace fs = std::filesystem;
namespace {

constexpr std::string_view kFormat = "troupe.checkpoint/1", kManifest = "manifest.json", kPrefix = "step-";

fs::path folder_of_step(const fs::path& root, int64_t step) { return root / fmt::format("{}{:08}", kPrefix, step); }

std::optional<int64_t> step_of(const fs::path& folder) {
  const std::string name = folder.filename().string();
  if (!name.starts_with(kPrefix)) return std::nullopt;
  int64_t step = 0;
  const char *begin = name.data() + kPrefix.size(), *end = name.data() + name.size();
  const auto [rest, error] = std::from_chars(begin, end, step);
  if (error != std::errc() || rest != end || step < 0) return std::nullopt;
  return step;
}

const nlohmann::json& field(const nlohmann::json& object, const char* name, const std::string& where) {
  const auto found = object.find(name);
  if (found == object.end()) fail(ErrorCode::kData, "{}: {}: expected this field, got none", where, name);
  return *found;
}

uint64_t parse_checksum(const nlohmann::json& value, const std::string& where) {
  uint64_t sum = 0;
  const std::string* text = value.get_ptr<const std::string*>();
  if (text && text->size() == 16) {
    const auto [end, error] = std::from_chars(text->data(), text->data() + 16, sum, 16);
    if (error == std::errc() && end == text->data() + 16) return sum;
  }
  fail(ErrorCode::kData, "{}: xxh3: expected 16 hexadecimal digits, got {}", where, json_excerpt(value));
}

}  // namespace

Manifest parse_manifest(std::string_view text, const std::string& where) {
  const nlohmann::json object = parse_json(text, where);
  if (!object.is_object()) fail(ErrorCode::kData, "{}: expected an object, got {}", where, object.type_name());
  if (field(object, "format", where) != kFormat)
    fail(ErrorCode::kData, "{}: format: expected \"{}\", got {}", where, kFormat, json_excerpt(object["format"]));
  Manifest manifest;
  const nlohmann::json& step = field(object, "step", where);
  if (!step.is_number_unsigned() || step.get<uint64_t>() > static_cast<uint64_t>(INT64_MAX))
    fail(ErrorCode::kData, "{}: step: expected a whole number, got {}", where, json_excerpt(step));
  manifest.step = step.get<int64_t>();
  const nlohmann::json& files = field(object, "files", where);
  if (!files.is_object()) fail(ErrorCode::kData, "{}: files: expected an object, got {}", where, files.type_name());
  for (const auto& [name, entry] : files.items()) {
    const std::string here = where + ": files." + name;
    if (name.empty() || name == "." || name == ".." || name.find('/') != name.npos)
      fail(ErrorCode::kData, "{}: expected the name of a file in this folder", here);
    if (!entry.is_object()) fail(ErrorCode::kData, "{}: expected an object, got {}", here, entry.type_name());
    const nlohmann::json& bytes = field(entry, "bytes", here);
    if (!bytes.is_number_unsigned())
      fail(ErrorCode::kData, "{}: bytes: expected a whole number, got {}", here, json_excerpt(bytes));
    manifest.files[name] = {bytes.get<uint64_t>(), parse_checksum(field(entry, "xxh3", here), here)};
  }
  return manifest;
}

CheckpointWriter::CheckpointWriter(const fs::path& root, int64_t step) : directory_(folder_of_step(root, step)) {
  manifest_.step = step;
}

void CheckpointWriter::add_file(const std::string& name, const FileBody& body) {
  FileWriter file(directory_.path() / name);
  body(file);
  manifest_.files[name] = file.close();
}

void CheckpointWriter::add_tensors(const std::string& name, const std::vector<TensorToWrite>& tensors,
                                   const Metadata& metadata) {
  add_file(name, [&](FileWriter& file) { write_safetensors(file, tensors, metadata); });
}

void CheckpointWriter::add_json(const std::string& name, const nlohmann::ordered_json& value) {
  add_file(name, [&](FileWriter& file) { file.write(json_file_text(value)); });
}

Checkpoint CheckpointWriter::commit() {
  nlohmann::ordered_json object = {{"format", kFormat}, {"step", manifest_.step}};
  nlohmann::ordered_json& files = object["files"] = nlohmann::ordered_json::object();
  for (const auto& [name, summary] : manifest_.files)
    files[name] = {{"bytes", summary.bytes}, {"xxh3", to_hex(summary.xxh3)}};
  FileWriter file(directory_.path() / kManifest);
  file.write(json_file_text(object));
  file.close();
  directory_.commit(AtomicDirectory::Existing::kReplace);
  return {directory_.destination(), manifest_.step};
}

std::string problem_of(const Checkpoint& checkpoint, Thoroughness thoroughness) {
  try {
    const fs::path path = checkpoint.folder / kManifest;
    const MappedFile manifest_file(path);
    const std::string_view text(reinterpret_cast<const char*>(manifest_file.bytes().data()),
                                manifest_file.bytes().size());
    const Manifest manifest = parse_manifest(text, path.string());
    if (manifest.step != checkpoint.step)
      return fmt::format("{}: step: expected {}, got {}", path.string(), checkpoint.step, manifest.step);
    for (const auto& [name, expected] : manifest.files) {
      const MappedFile file(checkpoint.folder / name);
      if (file.bytes().size() != expected.bytes)
        return fmt::format("{}: expected {} bytes, got {}", file.path().string(), expected.bytes, file.bytes().size());
      if (thoroughness == Thoroughness::kSizes) continue;
      if (const uint64_t sum = xxh3(file.bytes()); sum != expected.xxh3)
        return fmt::format("{}: expected checksum {}, got {}", file.path().string(), to_hex(expected.xxh3),
                           to_hex(sum));
    }
    return {};
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kData) throw;
    return error.what();
  }
}

std::vector<Checkpoint> list_checkpoints(const fs::path& root) {
  std::vector<Checkpoint> found;
  std::error_code error;
  if (fs::symlink_status(root, error).type() == fs::file_type::not_found) return found;
  for (fs::directory_iterator entry(root, error), end; !error && entry != end; entry.increment(error))
    if (const auto step = step_of(entry->path())) found.push_back({entry->path(), *step});
  if (error) fail(ErrorCode::kData, "{}: expected a folder of checkpoints, got: {}", root.string(), error.message());
  std::sort(found.begin(), found.end(), [](const Checkpoint& a, const Checkpoint& b) { return a.step > b.step; });
  return found;
}

FoundCheckpoints find_checkpoints(const fs::path& root) {
  FoundCheckpoints found;
  for (const Checkpoint& checkpoint : list_checkpoints(root)) {
    std::string problem = problem_of(checkpoint);
    if (problem.empty()) {
      found.newest = checkpoint;
      break;
    }
    found.broken.push_back({checkpoint, std::move(problem)});
  }
  return found;
}

std::optional<Checkpoint> newest_complete(const fs::path& root) {
  const FoundCheckpoints found = find_checkpoints(root);
  for (const BrokenCheckpoint& broken : found.broken)
    log::warning("{} (not a complete checkpoint: trying the one before)", broken.problem);
  return found.newest;
}

fs::path set_aside(const Checkpoint& broken) {
  fs::path name = broken.folder.string() + ".damaged";
  for (int number = 2; fs::symlink_status(name).type() != fs::file_type::not_found; ++number)
    name = fmt::format("{}.damaged-{}", broken.folder.string(), number);
  std::error_code error;
  fs::rename(broken.folder, name, error);
  if (error)
    fail(ErrorCode::kEnvironment, "{}: expected to set this checkpoint aside, got: {}", broken.folder.string(),
         error.message());
  return name;
}

void prune_checkpoints(const fs::path& root, int64_t keep_last) {
  std::vector<Checkpoint> kept, older;
  for (const Checkpoint& checkpoint : list_checkpoints(root)) {
    if (static_cast<int64_t>(kept.size()) >= std::max<int64_t>(keep_last, 1))
      older.push_back(checkpoint);
    else if (problem_of(checkpoint, Thoroughness::kSizes).empty())
      kept.push_back(checkpoint);
  }
  if (older.empty()) return;
  const auto sound = [](const Checkpoint& checkpoint) { return problem_of(checkpoint).empty(); };
  if (std::none_of(kept.begin(), kept.end(), sound)) {
    log::warning("{}: expected a complete checkpoint among the newest {}, got none: older ones are kept", root.string(),
                 kept.size());
    return;
  }
  for (const Checkpoint& checkpoint : older) {
    const fs::path doomed = temporary_name(checkpoint.folder);  // gone under its name before any file is
    std::error_code error;
    fs::rename(checkpoint.folder, doomed, error);
    if (!error) fs::remove_all(doomed, error);
    if (error)
      log::warning("{}: expected to remove this checkpoint, got: {}", checkpoint.folder.string(), error.message());
  }
}

void remove_leftovers(const fs::path& root) {
  if (!fs::is_directory(root)) return;
  std::vector<fs::path> leftovers;
  for (const auto& entry : fs::directory_iterator(root))
    if (is_temporary_name(entry.path()) && entry.path().filename().string().starts_with(kPrefix))
      leftovers.push_back(entry.path());
  for (const fs::path& leftover : leftovers) {
    std::error_code error;
    fs::remove_all(leftover, error);
    if (error) log::warning("{}: expected to remove this leftover, got: {}", leftover.string(), error.message());
  }
}

}  // namespace troupe
