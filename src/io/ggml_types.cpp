#include "io/ggml_types.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

#include "base/error.h"
#include "base/threads.h"
#include "tensor/bf16.h"
#include "tensor/half.h"

namespace troupe {
namespace {

constexpr int64_t kSmall = 32, kSuper = 256;  // values of a block

constexpr std::array<GgmlFormat, 11> kFormats = {{{GgmlType::kF32, "F32", 1, 4},
                                                  {GgmlType::kF16, "F16", 1, 2},
                                                  {GgmlType::kBf16, "BF16", 1, 2},
                                                  {GgmlType::kQ8_0, "Q8_0", kSmall, 34},
                                                  {GgmlType::kQ4_0, "Q4_0", kSmall, 18},
                                                  {GgmlType::kQ4_1, "Q4_1", kSmall, 20},
                                                  {GgmlType::kQ5_0, "Q5_0", kSmall, 22},
                                                  {GgmlType::kQ5_1, "Q5_1", kSmall, 24},
                                                  {GgmlType::kQ4_K, "Q4_K", kSuper, 144},
                                                  {GgmlType::kQ5_K, "Q5_K", kSuper, 176},
                                                  {GgmlType::kQ6_K, "Q6_K", kSuper, 210}}};

template <class T>
T load(const uint8_t* at) {
  T value;
  std::memcpy(&value, at, sizeof value);
  return value;
}

float load_half(const uint8_t* at) { return half_to_float(load<uint16_t>(at)); }

int low(uint8_t byte) { return byte & 15; }
int high(uint8_t byte) { return byte >> 4; }

// x = d q, q in [-128, 127]
void q8_0(const uint8_t* block, float* out) {
  const float d = load_half(block);
  for (int i = 0; i < kSmall; ++i) out[i] = d * static_cast<float>(static_cast<int8_t>(block[2 + i]));
}

// Halves of a block share bytes. Five bits: the fifth ones of all 32 values are one word.
// x = d (q - zero) or d q + m
struct SmallBlock {
  float d, m;
  int zero;
  uint32_t fifth;
  const uint8_t* q;
};
void small_block(const SmallBlock& block, float* out) {
  for (int i = 0; i < kSmall / 2; ++i) {
    const int first = low(block.q[i]) | static_cast<int>((block.fifth >> i & 1) << 4);
    const int second = high(block.q[i]) | static_cast<int>((block.fifth >> (i + 16) & 1) << 4);
    out[i] = block.d * static_cast<float>(first - block.zero) + block.m;
    out[i + kSmall / 2] = block.d * static_cast<float>(second - block.zero) + block.m;
  }
}
void q4_0(const uint8_t* b, float* out) { small_block({load_half(b), 0.0f, 8, 0, b + 2}, out); }
void q4_1(const uint8_t* b, float* out) { small_block({load_half(b), load_half(b + 2), 0, 0, b + 4}, out); }
void q5_0(const uint8_t* b, float* out) { small_block({load_half(b), 0.0f, 16, load<uint32_t>(b + 2), b + 6}, out); }
void q5_1(const uint8_t* b, float* out) {
  small_block({load_half(b), load_half(b + 2), 0, load<uint32_t>(b + 4), b + 8}, out);
}

// Of part i (32 values) of a block of 256 the scale and the minimum, six bits each, packed into 12 bytes.
struct ScaleAndMin {
  float scale, min;
};
ScaleAndMin scale_and_min(const uint8_t* packed, int i, float d, float dmin) {
  int scale = packed[i] & 63, min = packed[i + 4] & 63;
  if (i >= 4) {
    scale = (packed[i + 4] & 15) | (packed[i - 4] >> 6) << 4;
    min = packed[i + 4] >> 4 | (packed[i] >> 6) << 4;
  }
  return {d * static_cast<float>(scale), dmin * static_cast<float>(min)};
}

// x = scale q - min; `fifth`: 32 bytes with the fifth bits of part i in bit i, or null.
void q45_k(const uint8_t* block, const uint8_t* fifth, const uint8_t* q, float* out) {
  const float d = load_half(block), dmin = load_half(block + 2);
  for (int part = 0; part < 8; ++part) {
    const auto [scale, min] = scale_and_min(block + 4, part, d, dmin);
    for (int i = 0; i < kSmall; ++i) {
      const uint8_t byte = q[part / 2 * kSmall + i];
      const int value = (part % 2 ? high(byte) : low(byte)) + (fifth && fifth[i] >> part & 1 ? 16 : 0);
      out[part * kSmall + i] = scale * static_cast<float>(value) - min;
    }
  }
}
void q4_k(const uint8_t* b, float* out) { q45_k(b, nullptr, b + 16, out); }
void q5_k(const uint8_t* b, float* out) { q45_k(b, b + 16, b + 48, out); }

// x = d scale (q - 32): 128 bytes of low and 64 of high bits, 16 scales.
void q6_k(const uint8_t* block, float* out) {
  const uint8_t *low_bits = block, *high_bits = block + 128, *scales = block + 192;
  const float d = load_half(block + 208);
  for (int i = 0; i < kSuper; ++i) {
    const int half = i / 128, quarter = i % 128 / 32, at = i % 32;
    const uint8_t byte = low_bits[half * 64 + quarter % 2 * 32 + at];
    const int value = (quarter < 2 ? low(byte) : high(byte)) | (high_bits[half * 32 + at] >> 2 * quarter & 3) << 4;
    const auto scale = static_cast<float>(static_cast<int8_t>(scales[i / 16]));
    out[i] = d * scale * static_cast<float>(value - 32);
  }
}

void f32(const uint8_t* b, float* out) { *out = load<float>(b); }
void f16(const uint8_t* b, float* out) { *out = load_half(b); }
void bfloat(const uint8_t* b, float* out) { *out = load<bf16>(b); }

template <class Block>
void each_block(const GgmlFormat& format, std::span<const uint8_t> bytes, std::span<float> out, const Block& block) {
  const int64_t chunk = (int64_t{1} << 16) / format.block_values;
  parallel_chunks(static_cast<int64_t>(bytes.size()) / format.block_bytes, chunk, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      block(bytes.data() + i * format.block_bytes, out.data() + i * format.block_values);
  });
}

void quantize_q8_0(const float* x, uint8_t* out) {
  float largest = 0.0f;
  for (int i = 0; i < kSmall; ++i) largest = std::max(largest, std::fabs(x[i]));
  const float d = largest / 127.0f, inverse = d == 0.0f ? 0.0f : 1.0f / d;
  const uint16_t stored = float_to_half(d);
  std::memcpy(out, &stored, sizeof stored);
  for (int i = 0; i < kSmall; ++i) out[2 + i] = static_cast<uint8_t>(static_cast<int8_t>(std::round(x[i] * inverse)));
}

}  // namespace

const GgmlFormat* ggml_format(uint32_t type) {
  const auto found = std::find_if(kFormats.begin(), kFormats.end(),
                                  [&](const GgmlFormat& format) { return static_cast<uint32_t>(format.type) == type; });
  return found == kFormats.end() ? nullptr : &*found;
}

const GgmlFormat& ggml_format(GgmlType type) { return *ggml_format(static_cast<uint32_t>(type)); }

const GgmlFormat* ggml_format(std::string_view name) {
  const auto found =
      std::find_if(kFormats.begin(), kFormats.end(), [&](const GgmlFormat& format) { return format.name == name; });
  return found == kFormats.end() ? nullptr : &*found;
}

std::string_view ggml_names() { return "F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q4_K, Q5_K or Q6_K"; }

void dequantize(GgmlType type, std::span<const uint8_t> bytes, std::span<float> out) {
  const auto with = [&](auto block) { each_block(ggml_format(type), bytes, out, block); };
  switch (type) {
    case GgmlType::kF32:
      return with(f32);
    case GgmlType::kF16:
      return with(f16);
    case GgmlType::kBf16:
      return with(bfloat);
    case GgmlType::kQ8_0:
      return with(q8_0);
    case GgmlType::kQ4_0:
      return with(q4_0);
    case GgmlType::kQ4_1:
      return with(q4_1);
    case GgmlType::kQ5_0:
      return with(q5_0);
    case GgmlType::kQ5_1:
      return with(q5_1);
    case GgmlType::kQ4_K:
      return with(q4_k);
    case GgmlType::kQ5_K:
      return with(q5_k);
    case GgmlType::kQ6_K:
      return with(q6_k);
  }
}

void quantize(GgmlType type, std::span<const float> values, std::span<uint8_t> out) {
  const GgmlFormat& format = ggml_format(type);
  parallel_chunks(static_cast<int64_t>(values.size()) / format.block_values, 4096, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const float* x = values.data() + i * format.block_values;
      uint8_t* to = out.data() + i * format.block_bytes;
      if (type == GgmlType::kF32) {
        std::memcpy(to, x, sizeof *x);
      } else if (type == GgmlType::kF16) {
        const uint16_t bits = float_to_half(*x);
        std::memcpy(to, &bits, sizeof bits);
      } else if (type == GgmlType::kBf16) {
        const bf16 value(*x);
        std::memcpy(to, &value, sizeof value);
      } else if (type == GgmlType::kQ8_0) {
        quantize_q8_0(x, to);
      }
    }
  });
  if (type != GgmlType::kF32 && type != GgmlType::kF16 && type != GgmlType::kBf16 && type != GgmlType::kQ8_0)
    fail(ErrorCode::kInternal, "{}: expected a type that can be written", format.name);
}

}  // namespace troupe
