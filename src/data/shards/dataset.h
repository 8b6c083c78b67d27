// A dataset: a folder of token shards with index.json, read as one stream of tokens (docs/formats/shards.md).
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "data/shards/shard.h"

namespace troupe {

class TokenDataset {
 public:
  // Reads index.json and maps every shard it lists; shards and index must agree. Throws kData naming file and field.
  explicit TokenDataset(const std::filesystem::path& folder);

  // Reads every byte of every shard (TokenShard::verify), shards in parallel.
  void verify() const;

  const std::filesystem::path& path() const { return folder_; }
  const Vocabulary& vocabulary() const { return vocabulary_; }
  std::filesystem::path tokenizer_path() const { return folder_ / "tokenizer.json"; }  // a copy; may be missing
  int64_t documents() const { return documents_; }
  int64_t tokens() const { return begin_.back(); }
  int64_t text_bytes() const { return text_bytes_; }
  const std::string& checksum() const { return checksum_; }  // 16 hexadecimal digits, as in index.json

  // Copies the ids of tokens [begin, end) of the whole stream to dst.
  void read(int64_t begin, int64_t end, int32_t* dst) const;

  // The longest run of whole documents from the start with at most max_tokens tokens, but at least one document.
  // max_tokens <= 0 means all.
  struct Prefix {
    int64_t documents = 0, tokens = 0, text_bytes = 0;
  };
  Prefix prefix(int64_t max_tokens) const;

  // Shard that holds `token` and the token's number within it.
  std::pair<const TokenShard*, int64_t> locate(int64_t token) const;
  const std::vector<TokenShard>& shards() const { return shards_; }

 private:
  std::filesystem::path folder_;
  Vocabulary vocabulary_;
  std::vector<TokenShard> shards_;
  std::vector<int64_t> begin_{0};  // first token of each shard; the last entry is the number of tokens
  int64_t documents_ = 0, text_bytes_ = 0;
  std::string checksum_;
};

// Writes a dataset folder shard by shard, in the order in which documents are added. The folder appears whole, with
// index.json, when finish() returns, or not at all.
class DatasetWriter {
 public:
  // Shards are closed at the first document end at or after shard_tokens. Throws kUsage if `folder` has files in it
  // or a name that is not UTF-8.
  DatasetWriter(const std::filesystem::path& folder, const Vocabulary& vocabulary, int64_t shard_tokens);

  void add(std::span<const int32_t> ids, int64_t text_bytes);  // as ShardBuilder::add

  const std::filesystem::path& path() const { return folder_.path(); }  // where further files of the folder go
  int64_t documents() const { return documents_; }
  int64_t tokens() const { return tokens_; }
  int64_t text_bytes() const { return text_bytes_; }

  void finish();  // throws kData if there was no document

 private:
  struct Entry {
    std::string file;
    int64_t documents, tokens, text_bytes;
    FileSummary summary;
  };
  void close_shard();

  AtomicDirectory folder_;
  Vocabulary vocabulary_;
  int64_t shard_tokens_;
  ShardBuilder shard_;
  std::vector<Entry> entries_;
  int64_t documents_ = 0, tokens_ = 0, text_bytes_ = 0;
};

}  // namespace troupe
