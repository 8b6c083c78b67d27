#include "data/shards/dataset.h"

#include <algorithm>

#include "base/error.h"
#include "base/threads.h"
#include "base/utf8.h"
#include "io/checksum.h"
#include "io/json_fields.h"
#include "io/json_file.h"

namespace troupe {
namespace fs = std::filesystem;
namespace {

constexpr const char* kFormat = "troupe.dataset/1";

struct ShardEntry {
  std::string file;
  int64_t documents = 0, tokens = 0, text_bytes = 0, file_bytes = 0;
  std::string xxh3;

  template <class V>
  void fields(V& v) {
    v("file", file), v.count("documents", documents), v.count("tokens", tokens), v.count("text_bytes", text_bytes);
    v.may_lack("file_bytes", file_bytes), v("xxh3", xxh3);
  }
};

struct IndexFile {
  int64_t documents = 0, tokens = 0, text_bytes = 0, vocab_size = 0, end_of_text = 0;
  std::string tokenizer_xxh3, xxh3;
  std::vector<ShardEntry> shards;

  template <class V>
  void fields(V& v) {
    v.constant("format", kFormat);
    v.count("documents", documents), v.count("tokens", tokens), v.count("text_bytes", text_bytes);
    v.may_lack("vocab_size", vocab_size), v.may_lack("end_of_text", end_of_text);
    v.may_lack("tokenizer_xxh3", tokenizer_xxh3), v("xxh3", xxh3), v("shards", shards);
  }
};

void require_equal(const std::string& where, const char* name, int64_t expected, int64_t got) {
  if (expected != got)
    fail(ErrorCode::kData, "{}: {}: expected {} as in index.json, got {}", where, name, expected, got);
}

// Over the shards' own checksums, in order: two datasets with equal checksums hold the same tokens and documents.
std::string combined_checksum(const std::vector<std::string>& shard_checksums) {
  std::string all;
  for (const std::string& one : shard_checksums) all += one;
  return to_hex(xxh3(all));
}

}  // namespace

TokenDataset::TokenDataset(const fs::path& folder) : folder_(folder) {
  const fs::path index_path = folder / "index.json";
  if (!fs::is_directory(folder))
    fail(ErrorCode::kData, "{}: expected a dataset folder, got {} (make one with `troupe encode`)", folder.string(),
         fs::exists(folder) ? "a file" : "nothing");
  const std::string where = index_path.string();
  IndexFile index;
  read_json_fields(read_json_file(index_path), where, index);
  if (index.shards.empty()) fail(ErrorCode::kData, "{}: shards: expected a list of files, got an empty one", where);

  std::vector<std::string> checksums;
  for (size_t i = 0; i < index.shards.size(); ++i) {
    const ShardEntry& entry = index.shards[i];
    if (fs::path(entry.file).filename() != entry.file || entry.file == "." || entry.file == "..")
      fail(ErrorCode::kData, "{}: shards[{}].file: expected a name in the same folder, got {}", where, i, entry.file);
    const TokenShard& shard = shards_.emplace_back(folder / entry.file);
    const std::string name = shard.path().string();
    require_equal(name, "documents", entry.documents, shard.documents());
    require_equal(name, "tokens", entry.tokens, shard.tokens());
    require_equal(name, "text_bytes", entry.text_bytes, shard.text_bytes());
    checksums.push_back(to_hex(shard.checksum()));
    if (checksums.back() != entry.xxh3)
      fail(ErrorCode::kData, "{}: checksum: expected {} as in index.json, got {}", name, entry.xxh3, checksums.back());
    if (i > 0 && shard.vocabulary() != vocabulary_)
      fail(ErrorCode::kData, "{}: vocabulary: expected that of {}, got another one", name,
           shards_.front().path().string());
    vocabulary_ = shard.vocabulary();
    documents_ += shard.documents();
    text_bytes_ += shard.text_bytes();
    begin_.push_back(begin_.back() + shard.tokens());
  }
  require_equal(folder.string(), "documents", index.documents, documents_);
  require_equal(folder.string(), "tokens", index.tokens, tokens());
  require_equal(folder.string(), "text_bytes", index.text_bytes, text_bytes_);
  checksum_ = combined_checksum(checksums);
  if (checksum_ != index.xxh3)
    fail(ErrorCode::kData, "{}: xxh3: expected {} from the shards listed, got {}", where, checksum_, index.xxh3);
}

void TokenDataset::verify() const {
  parallel_for(static_cast<int64_t>(shards_.size()), [&](int64_t i) { shards_[static_cast<size_t>(i)].verify(); });
}

std::pair<const TokenShard*, int64_t> TokenDataset::locate(int64_t token) const {
  const auto after = std::upper_bound(begin_.begin(), begin_.end() - 1, token);
  const auto shard = static_cast<size_t>(after - begin_.begin()) - 1;
  return {&shards_[shard], token - begin_[shard]};
}

void TokenDataset::read(int64_t begin, int64_t end, int32_t* dst) const {
  if (begin < 0 || begin > end || end > tokens())
    fail(ErrorCode::kInternal, "{}: expected a range of its {} tokens, got [{}, {})", folder_.string(), tokens(), begin,
         end);
  while (begin < end) {
    const auto [shard, at] = locate(begin);
    const int64_t count = std::min(end - begin, shard->tokens() - at);
    shard->read(at, at + count, dst);
    begin += count;
    dst += count;
  }
}

TokenDataset::Prefix TokenDataset::prefix(int64_t max_tokens) const {
  if (max_tokens <= 0 || max_tokens >= tokens()) return {documents_, tokens(), text_bytes_};
  Prefix result;
  for (const TokenShard& shard : shards_)
    for (int64_t i = 0; i < shard.documents(); ++i) {
      const int64_t length = shard.document_end(i) - shard.document_begin(i);
      if (result.documents > 0 && result.tokens + length > max_tokens) return result;
      result.documents += 1;
      result.tokens += length;
      result.text_bytes += shard.document_text_bytes(i);
    }
  return result;
}

DatasetWriter::DatasetWriter(const fs::path& folder, const Vocabulary& vocabulary, int64_t shard_tokens)
    : folder_(folder), vocabulary_(vocabulary), shard_tokens_(shard_tokens), shard_(vocabulary) {
  if (fs::exists(folder) && !(fs::is_directory(folder) && fs::is_empty(folder)))
    fail(ErrorCode::kUsage, "{}: expected a new or empty folder, got one with files in it", folder.string());
  if (find_invalid_utf8(folder_.destination().filename().string()))
    fail(ErrorCode::kUsage, "{}: expected a folder whose name is UTF-8, since index.json names the shards after it",
         folder.string());
}

void DatasetWriter::add(std::span<const int32_t> ids, int64_t text_bytes) {
  shard_.add(ids, text_bytes);
  documents_ += 1;
  tokens_ += static_cast<int64_t>(ids.size()) + 1;
  text_bytes_ += text_bytes;
  if (shard_.tokens() >= shard_tokens_) close_shard();
}

void DatasetWriter::close_shard() {
  Entry entry{.file = fmt::format("{}-{:05}.tok", folder_.destination().filename().string(), entries_.size()),
              .documents = shard_.documents(),
              .tokens = shard_.tokens(),
              .text_bytes = shard_.text_bytes(),
              .summary = {}};
  entry.summary = shard_.write(folder_.path() / entry.file);
  entries_.push_back(std::move(entry));
}

void DatasetWriter::finish() {
  if (documents_ == 0)
    fail(ErrorCode::kData, "{}: expected at least one document, got none", folder_.destination().string());
  if (shard_.documents() > 0) close_shard();
  IndexFile index{.documents = documents_,
                  .tokens = tokens_,
                  .text_bytes = text_bytes_,
                  .vocab_size = vocabulary_.size,
                  .end_of_text = vocabulary_.end_of_text,
                  .tokenizer_xxh3 = to_hex(vocabulary_.tokenizer),
                  .xxh3 = {},
                  .shards = {}};
  std::vector<std::string> checksums;
  for (const Entry& entry : entries_) {
    checksums.push_back(to_hex(TokenShard(folder_.path() / entry.file).checksum()));
    index.shards.push_back({.file = entry.file,
                            .documents = entry.documents,
                            .tokens = entry.tokens,
                            .text_bytes = entry.text_bytes,
                            .file_bytes = static_cast<int64_t>(entry.summary.bytes),
                            .xxh3 = checksums.back()});
  }
  index.xxh3 = combined_checksum(checksums);
  write_json_file(folder_.path() / "index.json", json_of(index));
  folder_.commit();
}

}  // namespace troupe
