#include "eval/journal.h"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cmath>
#include <cstring>
#include <map>
#include <nlohmann/json.hpp>
#include <vector>

#include "base/error.h"
#include "base/log.h"
#include "io/atomic_file.h"
#include "io/checksum.h"
#include "io/json_file.h"
#include "io/json_text.h"
#include "io/mapped_file.h"
#include "io/regular_file.h"
#include "model/hf/peft.h"
#include "model/model_directory.h"

namespace troupe {
namespace {

std::span<const uint8_t> bytes_of(std::span<const int32_t> ids) {
  return {reinterpret_cast<const uint8_t*>(ids.data()), ids.size_bytes()};
}

}  // namespace

Journal::Journal(std::filesystem::path path, std::string_view identity)
    : path_(std::move(path)), identity_(xxh3(identity)), lock_(path_) {
  if (const std::string kind = kind_of_file(path_); kind != "a file" && kind != "nothing of that name")
    fail(ErrorCode::kUsage, "{}: expected a file of answers, got {}", path_.string(), kind);
  file_.reset(std::fopen(path_.c_str(), "abe"));
  if (!file_) fail(ErrorCode::kEnvironment, "{}: cannot open for writing: {}", path_.string(), std::strerror(errno));
  read();
}

void Journal::read() {
  const std::string text = read_file(path_);
  int64_t number = 0;
  size_t begin = 0;
  for (size_t end; (end = text.find('\n', begin)) != text.npos; begin = end + 1) {
    const std::string where = fmt::format("{}:{}", path_.string(), ++number);
    const nlohmann::json line = parse_json(std::string_view(text).substr(begin, end - begin), where);
    const auto field = [&](const char* name) {
      if (!line.is_object() || !line.contains(name))
        fail(ErrorCode::kData, "{}: {}: expected this field, got an entry without it", where, name);
      return line.at(name);
    };
    const nlohmann::json key = field("key"), logprob = field("logprob"), greedy = field("greedy");
    uint64_t value = 0;
    const std::string digits = key.is_string() ? key.get<std::string>() : "";
    const auto [stop, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value, 16);
    if (digits.size() != 16 || error != std::errc() || stop != digits.data() + digits.size())
      fail(ErrorCode::kData, "{}: key: expected 16 hexadecimal digits, got {}", where, json_excerpt(key));
    if (!logprob.is_number() || !greedy.is_boolean())
      fail(ErrorCode::kData, "{}: expected a number in logprob and a boolean in greedy, got {} and {}", where,
           json_excerpt(logprob), json_excerpt(greedy));
    entries_[value] = {logprob.get<double>(), greedy.get<bool>()};
  }
  if (begin != text.size()) {
    log::warning("{}: dropped an unfinished last line", path_.string());
    std::filesystem::resize_file(path_, begin);
  }
}

uint64_t Journal::key(std::span<const int32_t> context, std::span<const int32_t> continuation) const {
  const uint64_t parts[3] = {identity_, xxh3(bytes_of(context)), xxh3(bytes_of(continuation))};
  return xxh3(std::span(reinterpret_cast<const uint8_t*>(parts), sizeof(parts)));
}

std::optional<Journal::Entry> Journal::find(uint64_t key) const {
  const auto found = entries_.find(key);
  return found == entries_.end() ? std::nullopt : std::optional(found->second);
}

void Journal::add(uint64_t key, const Entry& entry) {
  entries_[key] = entry;
  if (!std::isfinite(entry.logprob)) return;  // JSON has no word for it: an evaluation that goes on computes it again
  const std::string line = json_text(nlohmann::ordered_json{
                               {"key", to_hex(key)}, {"logprob", entry.logprob}, {"greedy", entry.is_greedy}}) +
                           "\n";
  if (std::fputs(line.c_str(), file_.get()) < 0)
    fail(ErrorCode::kEnvironment, "{}: cannot write: {}", path_.string(), std::strerror(errno));
}

void Journal::flush() {
  if (std::fflush(file_.get()) != 0)
    fail(ErrorCode::kEnvironment, "{}: cannot write: {}", path_.string(), std::strerror(errno));
}

namespace {

// A line of every tensor.
std::string sums_of(const ModelTensors& tensors) {
  std::map<std::string, std::string> sums;
  for (const TensorView* tensor : tensors.tensors()) {
    sums[tensor->name] = describe(tensor->dtype, tensor->shape) + " " + to_hex(xxh3(tensor->bytes));
    give_back_pages(tensor->bytes);
  }
  std::string all;
  for (const auto& [name, sum] : sums) all += name + " " + sum + "\n";
  return all;
}

}  // namespace

std::string model_checksum(const std::filesystem::path& folder, const std::filesystem::path& adapter) {
  std::string all = config_json(read_model_config(folder)) + sums_of(ModelTensors(folder));
  if (!adapter.empty())
    all += adapter_config_text(find_adapter(adapter)) + sums_of(open_adapter_tensors(find_adapter(adapter)));
  return to_hex(xxh3(all));
}

}  // namespace troupe
