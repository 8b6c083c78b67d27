// The bytes of a token shard, shared by writer and reader. Described for people in docs/formats/shards.md.
// All numbers are little-endian and unsigned; every section starts at a multiple of 8 except the ids' end.
//
//   ShardHeader                 80 bytes
//   u64 start[documents + 1]    token at which each document starts; the last entry is `tokens`
//   u64 text_bytes[documents]   bytes of each document's original text
//   ids[tokens]                 id_bytes each; every document ends with end_of_text
#pragma once

#include <bit>
#include <cstdint>

namespace troupe {

static_assert(std::endian::native == std::endian::little, "shards are read in place");

inline constexpr uint64_t kShardMagic = 0x4452414853505254;  // the bytes "TRPSHARD"
inline constexpr uint64_t kShardVersion = 1;
inline constexpr uint64_t kShardMaxVocab = uint64_t{1} << 31;  // ids are int32_t in a batch
inline constexpr uint64_t kShardMaxTextBytes = uint64_t{1} << 62;
inline constexpr uint64_t kHashedFrom = 24;  // `checksum` covers every byte from here on

struct ShardHeader {
  uint64_t magic = kShardMagic;
  uint64_t version = kShardVersion;
  uint64_t checksum = 0;  // XXH3-64 of the file from byte kHashedFrom to its end
  uint64_t id_bytes = 2;  // 2 if vocab_size <= 65,536, else 4
  uint64_t vocab_size = 0;
  uint64_t end_of_text = 0;  // id
  uint64_t tokenizer = 0;    // XXH3-64 of tokenizer.json
  uint64_t documents = 0;
  uint64_t tokens = 0;
  uint64_t text_bytes = 0;
};
static_assert(sizeof(ShardHeader) == 80);

}  // namespace troupe
