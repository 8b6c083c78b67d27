// How ggml stores the values of a tensor: plain numbers, or blocks of small integers with scales
// (docs/formats/gguf.md).
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace troupe {

// Stored values never change: they are in files.
enum class GgmlType : uint32_t {
  kF32 = 0,
  kF16 = 1,
  kQ4_0 = 2,
  kQ4_1 = 3,
  kQ5_0 = 6,
  kQ5_1 = 7,
  kQ8_0 = 8,
  kQ4_K = 12,
  kQ5_K = 13,
  kQ6_K = 14,
  kBf16 = 30,
};

struct GgmlFormat {
  GgmlType type;
  std::string_view name;              // "Q4_K"
  int64_t block_values, block_bytes;  // a row is whole blocks
};

const GgmlFormat* ggml_format(uint32_t type);          // nullptr if unknown
const GgmlFormat& ggml_format(GgmlType type);          // of the list above
const GgmlFormat* ggml_format(std::string_view name);  // nullptr if unknown
std::string_view ggml_names();                         // of all of them, for messages

// The values of whole blocks as float32, to the bit as ggml's own definitions (and gguf's in numpy) give them. `out`
// has bytes.size() / block_bytes * block_values elements. With all threads for large tensors.
void dequantize(GgmlType type, std::span<const uint8_t> bytes, std::span<float> out);

// The reverse for F32, F16, BF16 and Q8_0, rounding as ggml does (throws kInternal for others).
void quantize(GgmlType type, std::span<const float> values, std::span<uint8_t> out);

}  // namespace troupe
