// Token ids as fairseq writes them (`fairseq-preprocess --dataset-impl mmap`): PREFIX.bin has the ids of all lines one
// after the other, PREFIX.idx says how long each line is and where it starts (fairseq data/indexed_dataset.py:380-455).
//
//   idx   9 bytes "MMIDIDX\0\0", u64 1, u8 dtype (1 u8, 2 i8, 3 i16, 4 i32, 5 i64, 8 u16), u64 lines,
//         i32 length[lines], i64 byte[lines]; all little-endian
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <vector>

namespace troupe {

struct FairseqLines {
  std::vector<int32_t> ids;       // all lines one after the other
  std::vector<int64_t> begin{0};  // [lines + 1] first id of each line
};

// `prefix`: PREFIX, PREFIX.bin or PREFIX.idx. Throws kData naming file and field: another magic, version or dtype, a
// line outside the .bin file, a negative id or one of 2^31 and more.
FairseqLines read_fairseq_lines(const std::filesystem::path& prefix);
bool is_fairseq_binary(const std::filesystem::path& path);

// The same from memory, for tests and fuzzing; the names open the messages.
FairseqLines parse_fairseq_lines(std::span<const uint8_t> idx, const std::string& idx_where,
                                 std::span<const uint8_t> bin, const std::string& bin_where);

}  // namespace troupe
