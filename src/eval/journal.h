// Answers that were computed, kept on disk so that an interrupted evaluation goes on where it stopped. One JSON object
// a line: {"key": "16 hexadecimal digits", "logprob": -12.5, "greedy": false}, written as answers come.
#pragma once

#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>

#include "io/writer_lock.h"

namespace troupe {

class Journal {
 public:
  // Opens or creates the file and reads what it holds. `identity` names everything that a score depends on besides the
  // tokens (model checksum, precision, capacity); it goes into every key. An unfinished last line, which a killed
  // process leaves, is cut off with a log line. The file is locked while the journal lives. Throws kData naming the
  // line for anything else that is no entry, kEnvironment if the file cannot be written or another journal has it open.
  Journal(std::filesystem::path path, std::string_view identity);

  struct Entry {
    double logprob = 0.0;
    bool is_greedy = false;
  };
  uint64_t key(std::span<const int32_t> context, std::span<const int32_t> continuation) const;
  std::optional<Entry> find(uint64_t key) const;
  void add(uint64_t key, const Entry& entry);
  void flush();  // hands what was added to the system

  size_t size() const { return entries_.size(); }

 private:
  void read();

  std::filesystem::path path_;
  uint64_t identity_;
  WriterLock lock_;
  std::unordered_map<uint64_t, Entry> entries_;
  struct Close {
    void operator()(std::FILE* file) const { std::fclose(file); }
  };
  std::unique_ptr<std::FILE, Close> file_;
};

// Identifies the parameters and configuration in a model directory: a checksum over the configuration and every tensor
// of the model by its name. How many files hold them, and what else is there (a checkpoint's moments), does not count.
std::string model_checksum(const std::filesystem::path& folder, const std::filesystem::path& adapter = {});

}  // namespace troupe
