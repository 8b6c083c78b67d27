#include "data/shards/shard.h"

#include <xxhash.h>

#include <algorithm>
#include <cstring>
#include <memory>

#include "base/error.h"
#include "io/checksum.h"

namespace troupe {
namespace {

// Position of the first id that is >= vocab_size, or `count`. `Id` is read in place: sections are aligned.
template <class Id>
int64_t first_outside(const Id* ids, int64_t count, uint64_t vocab_size) {
  constexpr int64_t kBlock = 4096;
  for (int64_t begin = 0; begin < count; begin += kBlock) {
    const int64_t end = std::min(count, begin + kBlock);
    Id largest = 0;
    for (int64_t i = begin; i < end; ++i) largest = std::max(largest, ids[i]);
    if (largest >= vocab_size)
      return std::find_if(ids + begin, ids + end, [&](Id id) { return id >= vocab_size; }) - ids;
  }
  return count;
}

template <class Id>
bool copy_ids(const Id* ids, int64_t count, uint64_t vocab_size, int32_t* dst) {
  uint32_t largest = 0;
  for (int64_t i = 0; i < count; ++i) {
    dst[i] = static_cast<int32_t>(ids[i]);
    largest = std::max<uint32_t>(largest, ids[i]);
  }
  return count == 0 || largest < vocab_size;
}

size_t id_bytes_for(int64_t vocab_size) { return vocab_size <= 65536 ? 2 : 4; }

struct HashStateDeleter {
  void operator()(XXH3_state_t* state) const { XXH3_freeState(state); }
};

}  // namespace

TokenShard::TokenShard(const std::filesystem::path& path) : file_(path) {
  if (file_.bytes().size() < sizeof(ShardHeader))
    fail(ErrorCode::kData, "{}: expected a token shard of at least {} bytes, got {}", path.string(),
         sizeof(ShardHeader), file_.bytes().size());
  std::memcpy(&header_, file_.bytes().data(), sizeof header_);
  check_header();
  vocabulary_ = {static_cast<int64_t>(header_.vocab_size), static_cast<int32_t>(header_.end_of_text),
                 header_.tokenizer};
  const auto* words = reinterpret_cast<const uint64_t*>(file_.bytes().data() + sizeof(ShardHeader));
  start_ = {words, header_.documents + 1};
  document_bytes_ = {words + header_.documents + 1, header_.documents};
  ids_ = reinterpret_cast<const uint8_t*>(words + 2 * header_.documents + 1);
  check_index();
}

void TokenShard::check_header() const {
  const std::string where = path().string();
  if (header_.magic != kShardMagic)
    fail(ErrorCode::kData, "{}: magic: expected a token shard, got another kind of file (made by `troupe encode`?)",
         where);
  if (header_.version != kShardVersion)
    fail(ErrorCode::kData, "{}: version: expected {}, got {}", where, kShardVersion, header_.version);
  if (header_.vocab_size == 0 || header_.vocab_size > kShardMaxVocab)
    fail(ErrorCode::kData, "{}: vocab_size: expected 1 to {}, got {}", where, kShardMaxVocab, header_.vocab_size);
  if (const size_t expected = id_bytes_for(static_cast<int64_t>(header_.vocab_size)); header_.id_bytes != expected)
    fail(ErrorCode::kData, "{}: id_bytes: expected {} for a vocabulary of {}, got {}", where, expected,
         header_.vocab_size, header_.id_bytes);
  if (header_.end_of_text >= header_.vocab_size)
    fail(ErrorCode::kData, "{}: end_of_text: expected an id < {}, got {}", where, header_.vocab_size,
         header_.end_of_text);
  // Counts are bounded by the file before they are multiplied.
  const uint64_t file_bytes = file_.bytes().size();
  if (header_.documents > file_bytes / 16)
    fail(ErrorCode::kData, "{}: documents: expected at most {} in a file of {} bytes, got {}", where, file_bytes / 16,
         file_bytes, header_.documents);
  if (header_.tokens > file_bytes / header_.id_bytes)
    fail(ErrorCode::kData, "{}: tokens: expected at most {} in a file of {} bytes, got {}", where,
         file_bytes / header_.id_bytes, file_bytes, header_.tokens);
  const uint64_t expected = sizeof(ShardHeader) + 8 * (2 * header_.documents + 1) + header_.id_bytes * header_.tokens;
  if (file_bytes != expected)
    fail(ErrorCode::kData, "{}: expected {} bytes for {} documents and {} tokens, got {} (cut short?)", where, expected,
         header_.documents, header_.tokens, file_bytes);
}

void TokenShard::check_index() const {
  const std::string where = path().string();
  if (start_.front() != 0)
    fail(ErrorCode::kData, "{}: document 0: expected to start at token 0, got {}", where, start_.front());
  uint64_t bytes = 0;
  for (uint64_t i = 0; i < header_.documents; ++i) {
    if (start_[i + 1] <= start_[i] || start_[i + 1] > header_.tokens)
      fail(ErrorCode::kData, "{}: document {}: expected an end between tokens {} and {}, got {}", where, i,
           start_[i] + 1, header_.tokens, start_[i + 1]);
    if (document_bytes_[i] > kShardMaxTextBytes - bytes)
      fail(ErrorCode::kData, "{}: document {}: text_bytes: expected at most {} in all, got {} more", where, i,
           kShardMaxTextBytes, document_bytes_[i]);
    bytes += document_bytes_[i];
  }
  if (start_.back() != header_.tokens)
    fail(ErrorCode::kData, "{}: documents: expected the last one to end at token {}, got {}", where, header_.tokens,
         start_.back());
  if (bytes != header_.text_bytes)
    fail(ErrorCode::kData, "{}: text_bytes: expected {}, the sum over documents, got {}", where, bytes,
         header_.text_bytes);
}

void TokenShard::verify() const {
  const std::string where = path().string();
  const uint64_t checksum = xxh3(file_.bytes().subspan(kHashedFrom));
  // An id out of range says more than a checksum that differs.
  const int64_t bad = header_.id_bytes == 2
                          ? first_outside(reinterpret_cast<const uint16_t*>(ids_), tokens(), header_.vocab_size)
                          : first_outside(reinterpret_cast<const uint32_t*>(ids_), tokens(), header_.vocab_size);
  if (bad < tokens()) fail_at_token(bad);
  if (checksum != header_.checksum)
    fail(ErrorCode::kData, "{}: checksum: expected {}, got {} (damaged file)", where, to_hex(header_.checksum),
         to_hex(checksum));
  for (int64_t i = 0; i < documents(); ++i) {
    int32_t last;
    read(document_end(i) - 1, document_end(i), &last);
    if (last != vocabulary_.end_of_text)
      fail(ErrorCode::kData, "{}: document {}: expected end-of-text ({}) as the last token, got {}", where, i,
           vocabulary_.end_of_text, last);
  }
}

void TokenShard::read(int64_t begin, int64_t end, int32_t* dst) const {
  if (begin < 0 || begin > end || end > tokens())
    fail(ErrorCode::kInternal, "{}: expected a range of its {} tokens, got [{}, {})", path().string(), tokens(), begin,
         end);
  const int64_t count = end - begin;
  const bool inside = header_.id_bytes == 2
                          ? copy_ids(reinterpret_cast<const uint16_t*>(ids_) + begin, count, header_.vocab_size, dst)
                          : copy_ids(reinterpret_cast<const uint32_t*>(ids_) + begin, count, header_.vocab_size, dst);
  if (inside) return;
  const auto* outside =
      std::find_if(dst, dst + count, [&](int32_t id) { return static_cast<uint32_t>(id) >= header_.vocab_size; });
  fail_at_token(begin + (outside - dst));
}

void TokenShard::fail_at_token(int64_t token) const {
  const uint8_t* at = ids_ + static_cast<uint64_t>(token) * header_.id_bytes;
  uint32_t id = 0;
  std::memcpy(&id, at, header_.id_bytes);
  fail(ErrorCode::kData, "{}: token {} (byte {}): expected an id < {}, got {}", path().string(), token,
       at - file_.bytes().data(), header_.vocab_size, id);
}

ShardBuilder::ShardBuilder(const Vocabulary& vocabulary)
    : vocabulary_(vocabulary), id_bytes_(id_bytes_for(vocabulary.size)) {
  if (vocabulary.size < 1 || static_cast<uint64_t>(vocabulary.size) > kShardMaxVocab || vocabulary.end_of_text < 0 ||
      vocabulary.end_of_text >= vocabulary.size)
    fail(ErrorCode::kInternal, "shard: expected end-of-text inside a vocabulary of at most {}, got {} of {}",
         kShardMaxVocab, vocabulary.end_of_text, vocabulary.size);
}

void ShardBuilder::add(std::span<const int32_t> ids, int64_t text_bytes) {
  for (size_t i = 0; i < ids.size(); ++i)
    if (ids[i] < 0 || ids[i] >= vocabulary_.size)
      fail(ErrorCode::kData, "document {}: token {}: expected an id < {}, got {}", documents(), i, vocabulary_.size,
           ids[i]);
  append(ids);
  append({&vocabulary_.end_of_text, 1});
  start_.push_back(start_.back() + ids.size() + 1);
  document_bytes_.push_back(static_cast<uint64_t>(text_bytes));
  text_bytes_ += text_bytes;
}

void ShardBuilder::append(std::span<const int32_t> ids) {
  const size_t old = ids_.size();
  ids_.resize(old + ids.size() * id_bytes_);
  uint8_t* dst = ids_.data() + old;
  for (const int32_t id : ids) {
    std::memcpy(dst, &id, id_bytes_);  // little-endian: the low bytes come first
    dst += id_bytes_;
  }
}

FileSummary ShardBuilder::write(const std::filesystem::path& path) {
  ShardHeader header;
  header.id_bytes = id_bytes_;
  header.vocab_size = static_cast<uint64_t>(vocabulary_.size);
  header.end_of_text = static_cast<uint64_t>(vocabulary_.end_of_text);
  header.tokenizer = vocabulary_.tokenizer;
  header.documents = document_bytes_.size();
  header.tokens = start_.back();
  header.text_bytes = static_cast<uint64_t>(text_bytes_);

  const std::unique_ptr<XXH3_state_t, HashStateDeleter> hash(XXH3_createState());
  XXH3_64bits_reset(hash.get());
  XXH3_64bits_update(hash.get(), reinterpret_cast<const uint8_t*>(&header) + kHashedFrom, sizeof header - kHashedFrom);
  XXH3_64bits_update(hash.get(), start_.data(), start_.size() * 8);
  XXH3_64bits_update(hash.get(), document_bytes_.data(), document_bytes_.size() * 8);
  XXH3_64bits_update(hash.get(), ids_.data(), ids_.size());
  header.checksum = XXH3_64bits_digest(hash.get());

  const FileSummary summary = write_file_atomically(path, [&](FileWriter& file) {
    file.write(&header, sizeof header);
    file.write(start_.data(), start_.size() * 8);
    file.write(document_bytes_.data(), document_bytes_.size() * 8);
    file.write(ids_.data(), ids_.size());
  });
  *this = ShardBuilder(vocabulary_);
  return summary;
}

}  // namespace troupe
