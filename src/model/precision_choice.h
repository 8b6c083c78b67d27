// The precision as configurations and flags name it.
#pragma once

#include <array>
#include <string_view>
#include <utility>

#include "tensor/precision.h"
#include "troupe/fields.h"

namespace troupe {

template <>
struct EnumNames<Precision> {
  static constexpr std::array<std::pair<std::string_view, Precision>, 2> values = {
      {{"fp32", Precision::kFp32}, {"bf16", Precision::kBf16}}};
};

enum class PrecisionChoice { kAuto, kFp32, kBf16 };  // kAuto: what default_precision() says
template <>
struct EnumNames<PrecisionChoice> {
  static constexpr std::array<std::pair<std::string_view, PrecisionChoice>, 3> values = {
      {{"auto", PrecisionChoice::kAuto}, {"fp32", PrecisionChoice::kFp32}, {"bf16", PrecisionChoice::kBf16}}};
};

}  // namespace troupe
