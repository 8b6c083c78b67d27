#include "io/safetensors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <fstream>

#include "base/rng.h"
#include "error_of.h"
#include "temporary_folder.h"

namespace troupe {
namespace {

using test::error_of;
using test::TemporaryFolder;
using testing::AllOf;
using testing::HasSubstr;

// A file image with this header text and `data_bytes` zero bytes.
std::string image(const std::string& header, size_t data_bytes) {
  const uint64_t size = header.size();
  std::string bytes(reinterpret_cast<const char*>(&size), 8);
  return bytes + header + std::string(data_bytes, '\0');
}

std::span<const uint8_t> as_bytes(const std::string& text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

std::string refusal(const std::string& header, size_t data_bytes) {
  const std::string bytes = image(header, data_bytes);
  return error_of([&] { SafetensorsFile(as_bytes(bytes), "x.safetensors"); });
}

TEST(Safetensors, ReadsBackWhatItWrote) {
  const TemporaryFolder folder;
  const float a[6] = {1, 2, 3, 4, 5, -6};
  const int64_t b[1] = {42};
  const auto path = folder / "x.safetensors";
  write_safetensors(path, {{"zebra", DType::kF32, {2, 3}, a}, {"b", DType::kI64, {}, b}, {"none", DType::kF32, {0, 4}}},
                    {{"format", "pt"}});
  const SafetensorsFile file(path);
  ASSERT_EQ(file.tensors().size(), 3u);
  EXPECT_EQ(file.tensors()[0].name, "zebra");
  EXPECT_EQ(file.metadata().at("format"), "pt");
  EXPECT_EQ(file.at("zebra", {2, 3}, DType::kF32).size(), 6);
  const Tensor zebra = file.read_f32("zebra");
  EXPECT_EQ(std::memcmp(zebra.bytes(), a, sizeof a), 0);
  EXPECT_EQ(file.read("b").as<int64_t>()[0], 42);
  EXPECT_EQ(file.read("b").shape(), Shape{});
  EXPECT_EQ(file.at("none").size(), 0);
  EXPECT_EQ(file.find("zebr"), nullptr);
}

TEST(Safetensors, SameTensorsGiveTheSameBytes) {
  const TemporaryFolder folder;
  const float a[2] = {1, 2};
  const FileSummary one = write_safetensors(folder / "1", {{"a", DType::kF32, {2}, a}}, {{"k", "v"}, {"a", "b"}});
  const FileSummary two = write_safetensors(folder / "2", {{"a", DType::kF32, {2}, a}}, {{"a", "b"}, {"k", "v"}});
  EXPECT_EQ(one, two);
  EXPECT_EQ(read_file(folder / "1"), read_file(folder / "2"));
}

TEST(Safetensors, ConvertsEveryFloatingDtype) {
  const TemporaryFolder folder;
  const double f64[2] = {0.1, -1e300};
  const uint16_t f16[5] = {0x3C00, 0x0001, 0xFC00, 0x7E00, 0x3555};  // 1, smallest subnormal, -inf, NaN, 0.33325
  const bf16 b16[2] = {bf16(1.5f), bf16(-3.0f)};
  const auto path = folder / "x.safetensors";
  write_safetensors(path, {{"f64", DType::kF64, {2}, f64},
                           {"f16", DType::kF16, {5}, f16},
                           {"b16", DType::kBf16, {2}, b16},
                           {"i32", DType::kI32, {1}, f64}});
  const SafetensorsFile file(path);
  std::vector<float> out(5);
  file.read_f32("f16", {5}, out);
  EXPECT_EQ(out[0], 1.0f);
  EXPECT_EQ(out[1], 0x1p-24f);
  EXPECT_EQ(out[2], -INFINITY);
  EXPECT_TRUE(std::isnan(out[3]));
  EXPECT_EQ(out[4], 0.333251953125f);
  out.resize(2);
  file.read_f32("f64", {2}, out);
  EXPECT_EQ(out[0], 0.1f);
  EXPECT_EQ(out[1], -INFINITY);
  file.read_f32("b16", {2}, out);
  EXPECT_EQ(out[1], -3.0f);
  EXPECT_THAT(error_of([&] { file.read_f32("i32"); }),
              AllOf(HasSubstr("x.safetensors: i32: expected a floating-point dtype, got I32")));
}

TEST(Safetensors, NamesFileTensorAndShapesInItsErrors) {
  const TemporaryFolder folder;
  const float a[6] = {};
  const auto path = folder / "x.safetensors";
  write_safetensors(path, {{"layers.0.fc1.weight", DType::kF32, {2, 3}, a}});
  const SafetensorsFile file(path);
  EXPECT_THAT(error_of([&] {
                file.at("layers.0.fc1.weight", {3, 2});
              }),
              HasSubstr("x.safetensors: layers.0.fc1.weight: expected F32 [3, 2], got F32 [2, 3]"));
  EXPECT_THAT(
      error_of([&] { file.at("layers.0.fc1.wieght"); }),
      AllOf(HasSubstr("expected the tensor layers.0.fc1.wieght"), HasSubstr("nearest name is layers.0.fc1.weight")));
  EXPECT_THAT(error_of([&] { SafetensorsFile(folder / "missing.safetensors"); }),
              AllOf(HasSubstr("missing.safetensors"), HasSubstr("No such file")));
}

TEST(Safetensors, RefusesToWriteANameThatCannotBeReadBack) {
  const TemporaryFolder folder;
  const float value = 1;
  EXPECT_THAT(error_of([&] {
                write_safetensors(folder / "x.safetensors", {{"a\xff", DType::kF32, {1}, &value}});
              }),
              HasSubstr(": a\xff: expected a name in UTF-8, got other bytes"));
}

TEST(Safetensors, RefusesEveryKindOfBadHeader) {
  EXPECT_THAT(error_of([] { SafetensorsFile(std::span<const uint8_t>(), "x.safetensors"); }), HasSubstr("got 0 bytes"));
  EXPECT_THAT(refusal("[1]", 0), HasSubstr("x.safetensors: header: expected an object, got array"));
  EXPECT_THAT(refusal(R"({"a":)", 0), HasSubstr("x.safetensors: header: column 6: expected JSON"));
  EXPECT_THAT(refusal(R"({"a":{"dtype":"F31","shape":[1],"data_offsets":[0,4]}})", 4),
              HasSubstr("a: dtype: expected F64"));
  EXPECT_THAT(refusal(R"({"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}})", 4),
              HasSubstr("a: shape: expected integers"));
  EXPECT_THAT(refusal(R"({"a":{"dtype":"F32","shape":[1.5],"data_offsets":[0,4]}})", 4),
              HasSubstr("a: shape: expected integers"));
  EXPECT_THAT(refusal(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}})", 4),
              HasSubstr("a: expected 8 bytes for F32 [2]"));
  EXPECT_THAT(refusal(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}})", 4), HasSubstr("begin <= end"));
  EXPECT_THAT(refusal(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})", 4), HasSubstr("truncated"));
  EXPECT_THAT(refusal(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})", 8),
              HasSubstr("expected 4 bytes of data, got 8"));
  EXPECT_THAT(refusal(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})", 8), HasSubstr("no gap"));
  EXPECT_THAT(refusal(R"({"a":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,4]}})", 4),
              HasSubstr("a: shape"));
  EXPECT_THAT(refusal(R"({"a":{"dtype":"F32","shape":[4611686018427387904],"data_offsets":[0,0]}})", 0),
              HasSubstr("a: expected"));
  EXPECT_THAT(
      refusal(
          R"({"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}})",
          0),
      HasSubstr("a: expected each key once"));
  EXPECT_THAT(
      refusal(
          R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}})",
          3),
      HasSubstr("b: data_offsets: expected data from byte 2 on"));
  EXPECT_THAT(refusal(std::string(2000, '['), 0), HasSubstr("levels of nesting"));
  std::string huge = image("{}", 0);
  huge[6] = 0x7f;
  EXPECT_THAT(error_of([&] { SafetensorsFile(as_bytes(huge), "x.safetensors"); }),
              HasSubstr("header length: expected at most"));
}

TEST(Safetensors, SurvivesEveryTruncationAndRandomDamage) {
  const TemporaryFolder folder;
  const float a[6] = {1, 2, 3, 4, 5, 6};
  write_safetensors(folder / "x", {{"a", DType::kF32, {2, 3}, a}, {"b", DType::kF32, {6}, a}}, {{"k", "v"}});
  const std::string whole = read_file(folder / "x");
  for (size_t size = 0; size < whole.size(); ++size)
    EXPECT_NE(error_of([&] { SafetensorsFile(as_bytes(whole).first(size), "x"); }), "") << size;
  Rng rng(1);
  int refused = 0;
  for (int i = 0; i < 20000; ++i) {
    std::string damaged = whole;
    for (uint64_t n = 1 + rng.below(3); n > 0; --n)
      damaged[rng.below(damaged.size() - sizeof a * 2)] = static_cast<char>(rng.next_u32());
    try {
      const SafetensorsFile file(as_bytes(damaged), "x");
      for (const TensorView& tensor : file.tensors())
        EXPECT_EQ(num_elements(tensor.shape) * size_of(tensor.dtype), static_cast<int64_t>(tensor.bytes.size()));
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kData);
      ++refused;
    }
  }
  EXPECT_GT(refused, 10000);
}

}  // namespace
}  // namespace troupe
