// A token shard: documents as token ids in one memory-mapped file (docs/formats/shards.md).
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <vector>

#include "data/shards/shard_format.h"
#include "io/atomic_file.h"
#include "io/mapped_file.h"

namespace troupe {

// What the tokens of a shard or dataset mean.
struct Vocabulary {
  int64_t size = 0;         // V: ids are below it
  int32_t end_of_text = 0;  // closes every document
  uint64_t tokenizer = 0;   // XXH3-64 of tokenizer.json
  bool operator==(const Vocabulary&) const = default;
};

class TokenShard {
 public:
  // Maps the file and checks header, length and document index. Throws kData: `FILE: field: expected ..., got ...`.
  explicit TokenShard(const std::filesystem::path& path);

  // Reads every byte: checksum, ids below the vocabulary size, documents that end with end-of-text. Throws kData.
  void verify() const;

  const std::filesystem::path& path() const { return file_.path(); }
  const Vocabulary& vocabulary() const { return vocabulary_; }
  int64_t documents() const { return static_cast<int64_t>(header_.documents); }
  int64_t tokens() const { return static_cast<int64_t>(header_.tokens); }          // end-of-text included
  int64_t text_bytes() const { return static_cast<int64_t>(header_.text_bytes); }  // of the original text
  uint64_t checksum() const { return header_.checksum; }

  int64_t document_begin(int64_t document) const { return static_cast<int64_t>(start_[document]); }
  int64_t document_end(int64_t document) const { return static_cast<int64_t>(start_[document + 1]); }
  int64_t document_text_bytes(int64_t document) const { return static_cast<int64_t>(document_bytes_[document]); }

  // Copies the ids of tokens [begin, end) to dst. Throws kData at an id outside the vocabulary.
  void read(int64_t begin, int64_t end, int32_t* dst) const;

 private:
  void check_header() const;
  void check_index() const;
  [[noreturn]] void fail_at_token(int64_t token) const;

  MappedFile file_;
  ShardHeader header_;
  Vocabulary vocabulary_;
  std::span<const uint64_t> start_, document_bytes_;
  const uint8_t* ids_ = nullptr;
};

// Collects documents and writes them as one shard.
class ShardBuilder {
 public:
  explicit ShardBuilder(const Vocabulary& vocabulary);

  // Appends one document; end-of-text is added here. Throws kData if an id is outside the vocabulary.
  void add(std::span<const int32_t> ids, int64_t text_bytes);

  int64_t documents() const { return static_cast<int64_t>(document_bytes_.size()); }
  int64_t tokens() const { return static_cast<int64_t>(start_.back()); }
  int64_t text_bytes() const { return text_bytes_; }

  // Writes the file atomically and returns its size and the checksum of the whole file. The builder is empty
  // afterwards.
  FileSummary write(const std::filesystem::path& path);

 private:
  void append(std::span<const int32_t> ids);

  Vocabulary vocabulary_;
  size_t id_bytes_;
  std::vector<uint64_t> start_{0}, document_bytes_;
  std::vector<uint8_t> ids_;
  int64_t text_bytes_ = 0;
};

}  // namespace troupe
