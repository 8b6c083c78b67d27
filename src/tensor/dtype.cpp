#include "tensor/dtype.h"

#include <array>

namespace troupe {
namespace {

struct Row {
  DType dtype;
  int64_t bytes;
  std::string_view name;
};
constexpr std::array kRows = {Row{DType::kF64, 8, "F64"},   Row{DType::kF32, 4, "F32"}, Row{DType::kF16, 2, "F16"},
                              Row{DType::kBf16, 2, "BF16"}, Row{DType::kI64, 8, "I64"}, Row{DType::kI32, 4, "I32"},
                              Row{DType::kI16, 2, "I16"},   Row{DType::kI8, 1, "I8"},   Row{DType::kU8, 1, "U8"},
                              Row{DType::kBool, 1, "BOOL"}};

}  // namespace

int64_t size_of(DType dtype) { return kRows[static_cast<size_t>(dtype)].bytes; }
std::string_view name_of(DType dtype) { return kRows[static_cast<size_t>(dtype)].name; }
bool dtype_from_name(std::string_view name, DType& dtype) {
  for (const Row& row : kRows)
    if (row.name == name) {
      dtype = row.dtype;
      return true;
    }
  return false;
}

}  // namespace troupe
