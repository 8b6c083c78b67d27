#include "io/torch_file.h"

#include <array>
#include <cstring>
#include <utility>

#include "base/error.h"

namespace troupe {
namespace {

constexpr std::array<std::pair<std::string_view, DType>, 10> kStorages = {{{"DoubleStorage", DType::kF64},
                                                                           {"FloatStorage", DType::kF32},
                                                                           {"HalfStorage", DType::kF16},
                                                                           {"BFloat16Storage", DType::kBf16},
                                                                           {"LongStorage", DType::kI64},
                                                                           {"IntStorage", DType::kI32},
                                                                           {"ShortStorage", DType::kI16},
                                                                           {"CharStorage", DType::kI8},
                                                                           {"ByteStorage", DType::kU8},
                                                                           {"BoolStorage", DType::kBool}}};

}  // namespace

bool TorchTensor::is_contiguous() const {
  if (num_elements(shape) == 0) return true;
  int64_t expected = 1;
  for (size_t i = shape.size(); i > 0; --i) {
    if (shape[i - 1] != 1 && stride[i - 1] != expected) return false;
    expected *= shape[i - 1];
  }
  return true;
}

TorchFile::TorchFile(const std::filesystem::path& path)
    : zip_(path), pickle_(zip_.at("data.pkl"), path.string() + ": data.pkl") {}

TorchFile::TorchFile(std::span<const uint8_t> bytes, std::string where)
    : zip_(bytes, std::move(where)), pickle_(zip_.at("data.pkl"), zip_.where() + ": data.pkl") {}

TorchTensor TorchFile::tensor(const std::string& name, const PickleValue& value) const {
  const std::string here = where() + ": " + name;
  if (value.kind != PickleValue::Kind::kTensor)
    fail(ErrorCode::kData, "{}: expected a tensor, got {}", here, name_of(value.kind));
  const PickleValue& storage = pickle_.at(value.items[0]);
  TorchTensor tensor{.name = name, .shape = value.shape, .stride = value.stride};
  bool known = false;
  for (const auto& [type, dtype] : kStorages)
    if (type == storage.type) tensor.dtype = dtype, known = true;
  if (!known) fail(ErrorCode::kData, "{}: expected a storage of a known type, got torch.{}", here, storage.type);
  const std::span<const uint8_t>* data = zip_.find("data/" + storage.text);
  if (!data) fail(ErrorCode::kData, "{}: expected the entry data/{}, got none", here, storage.text);
  const int64_t bytes_each = size_of(tensor.dtype);
  int64_t announced = 0;
  if (__builtin_mul_overflow(storage.integer, bytes_each, &announced) ||
      announced != static_cast<int64_t>(data->size()))
    fail(ErrorCode::kData, "{}: expected {} elements of {} in data/{}, got {} bytes", here, storage.integer,
         name_of(tensor.dtype), storage.text, data->size());

  int64_t count = 0;
  try {
    count = num_elements(tensor.shape);
  } catch (const Error& error) {
    fail(ErrorCode::kData, "{}: {}", here, error.what());
  }
  int64_t last = value.integer;  // the highest element that is used
  bool inside = last >= 0 && last <= storage.integer;
  for (size_t i = 0; count > 0 && inside && i < tensor.shape.size(); ++i) {
    int64_t reach = 0;
    inside = tensor.stride[i] >= 0 && !__builtin_mul_overflow(tensor.shape[i] - 1, tensor.stride[i], &reach) &&
             !__builtin_add_overflow(last, reach, &last);
  }
  if (!inside || (count > 0 && last >= storage.integer))
    fail(ErrorCode::kData, "{}: expected elements inside a storage of {}, got offset {}, shape {}, stride {}", here,
         storage.integer, value.integer, to_string(tensor.shape), to_string(tensor.stride));
  tensor.bytes = data->subspan(static_cast<size_t>(value.integer * bytes_each));
  return tensor;
}

TensorView TorchFile::in_rows(const TorchTensor& tensor, Buffer<uint8_t>& room) const {
  const int64_t bytes_each = size_of(tensor.dtype), count = num_elements(tensor.shape);
  TensorView view{.name = tensor.name, .dtype = tensor.dtype, .shape = tensor.shape};
  if (tensor.is_contiguous()) {
    view.bytes = tensor.bytes.first(static_cast<size_t>(count * bytes_each));
    return view;
  }
  // Row-major order of the indices; the odometer counts the last dimension fastest.
  room = Buffer<uint8_t>(count * bytes_each);
  std::vector<int64_t> index(tensor.shape.size(), 0);
  int64_t from = 0;
  for (int64_t i = 0; i < count; ++i) {
    std::memcpy(room.data() + i * bytes_each, tensor.bytes.data() + from * bytes_each, static_cast<size_t>(bytes_each));
    for (size_t d = index.size(); d > 0; --d) {
      from += tensor.stride[d - 1];
      if (++index[d - 1] < tensor.shape[d - 1]) break;
      from -= tensor.stride[d - 1] * tensor.shape[d - 1];
      index[d - 1] = 0;
    }
  }
  view.bytes = room.span();
  return view;
}

void TorchFile::read_f32(const TorchTensor& tensor, std::span<float> out) const {
  if (num_elements(tensor.shape) == 0) return;
  Buffer<uint8_t> room;
  convert_to_f32(in_rows(tensor, room), out, where());
}

}  // namespace troupe
