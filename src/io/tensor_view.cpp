#include "io/tensor_view.h"

#include <cstring>
#include <memory>
#include <vector>

#include "base/error.h"
#include "base/threads.h"

namespace troupe {
namespace {

template <class Stored, class Convert>
void convert(const TensorView& tensor, std::span<float> out, const Convert& to_float) {
  const uint8_t* source = tensor.bytes.data();
  parallel_chunks(static_cast<int64_t>(out.size()), int64_t{1} << 16, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      Stored value;
      std::memcpy(&value, source + i * static_cast<int64_t>(sizeof value), sizeof value);
      out[static_cast<size_t>(i)] = to_float(value);
    }
  });
}

// All 65,536 halves as floats: one lookup per element.
const float* half_table() {
  static const std::unique_ptr<float[]> table = [] {
    auto made = std::make_unique<float[]>(1 << 16);
    for (int bits = 0; bits < (1 << 16); ++bits)
      made[static_cast<size_t>(bits)] = half_to_float(static_cast<uint16_t>(bits));
    return made;
  }();
  return table.get();
}

}  // namespace

void convert_to_f32(const TensorView& tensor, std::span<float> out, const std::string& where) {
  if (static_cast<int64_t>(out.size()) != tensor.size())
    fail(ErrorCode::kInternal, "{}: {}: room for {} values, {} to convert", where, tensor.name, out.size(),
         tensor.size());
  switch (tensor.dtype) {
    case DType::kF64:
      return convert<double>(tensor, out, [](double value) { return static_cast<float>(value); });
    case DType::kF32:
      return convert<float>(tensor, out, [](float value) { return value; });
    case DType::kF16:
      return convert<uint16_t>(tensor, out, [table = half_table()](uint16_t bits) { return table[bits]; });
    case DType::kBf16:
      return convert<bf16>(tensor, out, [](bf16 value) { return static_cast<float>(value); });
    default:
      fail(ErrorCode::kData, "{}: {}: expected a floating-point dtype, got {}", where, tensor.name,
           name_of(tensor.dtype));
  }
}

std::string describe(DType dtype, const Shape& shape) { return fmt::format("{} {}", name_of(dtype), to_string(shape)); }

}  // namespace troupe
