// GGUF: files of the package gguf (tests/data/gguf), files of our own, and damaged ones.
#include "io/gguf.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "base/rng.h"
#include "error_of.h"
#include "io/atomic_file.h"
#include "temporary_folder.h"
#include "tensor/bf16.h"
#include "tensor/half.h"

namespace troupe {
namespace {

using test::error_of;
using testing::ElementsAre;
using testing::HasSubstr;

const std::string kTypes = TROUPE_TEST_DATA "/gguf/types.gguf";
constexpr const char* kNames[] = {"f32", "f16", "bf16", "q8_0", "q4_0", "q4_1", "q5_0", "q5_1", "q4_k", "q5_k", "q6_k"};

std::span<const uint8_t> bytes_of(const std::string& text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

std::vector<float> values_of(const GgufFile& file, const std::string& name) {
  const GgufTensor* tensor = file.find_tensor(name);
  if (!tensor) return {};
  std::vector<float> values(static_cast<size_t>(num_elements(tensor->shape)));
  dequantize(tensor->type, tensor->bytes, values);
  return values;
}

TEST(Gguf, DequantizesEveryTypeToTheBitAsGgufDoes) {
  const GgufFile file(kTypes);
  for (const std::string name : kNames) {
    const std::vector<float> got = values_of(file, name), expected = values_of(file, name + ".expected");
    ASSERT_GE(got.size(), 512u) << name;
    ASSERT_EQ(got.size(), expected.size()) << name;
    for (size_t i = 0; i < got.size(); ++i) ASSERT_EQ(got[i], expected[i]) << name << " " << i;
  }
}

TEST(Gguf, QuantizesToTheSameBytes) {
  const GgufFile file(kTypes);
  for (const std::string name : {"f32", "f16", "bf16", "q8_0"}) {
    const GgufTensor* expected = file.find_tensor(name);
    std::vector<uint8_t> got(expected->bytes.size());
    quantize(expected->type, values_of(file, name + ".values"), got);
    EXPECT_EQ(std::memcmp(got.data(), expected->bytes.data(), got.size()), 0) << name;
  }
}

TEST(Gguf, ReadsMetadataAndShapes) {
  const GgufFile file(kTypes);
  EXPECT_EQ(file.string("general.architecture"), "llama");
  EXPECT_EQ(file.integer("x.u8"), 200);
  EXPECT_EQ(file.integer("x.i8"), -5);
  EXPECT_EQ(file.integer("x.u32"), 4000000000);
  EXPECT_EQ(file.integer("x.u64"), (int64_t{1} << 53) + 2);
  EXPECT_EQ(file.integer("x.i64"), -(int64_t{1} << 40));
  EXPECT_EQ(file.number("x.f32", 0), 0.5);
  EXPECT_EQ(file.number("x.f64", 0), 0.1);
  EXPECT_TRUE(file.boolean("x.bool", false));
  EXPECT_EQ(file.string("x.string"), "héllo");
  EXPECT_THAT(file.strings("x.strings"), ElementsAre("a", "", "ü"));
  EXPECT_THAT(file.numbers("x.numbers"), ElementsAre(3, -1, 7));
  EXPECT_EQ(file.integer("absent", 4), 4);
  EXPECT_EQ(error_of([&] { file.integer("x.string"); }),
            kTypes + ": x.string: expected an integer below 2^63, got another value");
  EXPECT_EQ(error_of([&] { file.strings("absent"); }), kTypes + ": absent: expected an array of strings, got none");
  EXPECT_EQ(file.find_tensor("scalars.3d")->shape, (Shape{2, 3, 4}));
  EXPECT_EQ(values_of(file, "scalars.3d")[23], 23.0f);
}

TEST(Gguf, ReadsBackWhatItWrote) {
  const test::TemporaryFolder folder;
  const GgufFile from(kTypes);
  std::vector<GgufTensorToWrite> list;
  for (const std::string name : {"f32", "f16", "bf16", "q8_0", "scalars.3d"})
    list.push_back({name, from.find_tensor(name)->type, from.find_tensor(name)->shape});
  write_file_atomically(folder / "x.gguf", [&](FileWriter& file) {
    GgufWriter writer(file, from.metadata(), list);
    for (const GgufTensorToWrite& tensor : list) writer.append(values_of(from, tensor.name));
    writer.finish();
  });
  const GgufFile back(folder / "x.gguf");
  ASSERT_EQ(back.tensors().size(), list.size());
  for (const GgufTensorToWrite& tensor : list) {
    const GgufTensor &a = *from.find_tensor(tensor.name), &b = *back.find_tensor(tensor.name);
    EXPECT_EQ(b.shape, a.shape);
    ASSERT_EQ(b.bytes.size(), a.bytes.size());
    EXPECT_EQ(std::memcmp(b.bytes.data(), a.bytes.data(), a.bytes.size()), 0) << tensor.name;
  }
  ASSERT_EQ(back.metadata().size(), from.metadata().size());
  for (size_t i = 0; i < from.metadata().size(); ++i) {
    EXPECT_EQ(back.metadata()[i].first, from.metadata()[i].first);
    EXPECT_EQ(back.metadata()[i].second.type, from.metadata()[i].second.type);
    EXPECT_EQ(back.metadata()[i].second.value, from.metadata()[i].second.value) << from.metadata()[i].first;
  }
}

// The places of what a file holds, for tests that change it: as little as a reader must know.
struct Image {
  std::string bytes = "GGUF";
  template <class T>
  Image& number(T value) {
    bytes.append(reinterpret_cast<const char*>(&value), sizeof value);
    return *this;
  }
  Image& string(const std::string& text) {
    number<uint64_t>(text.size());
    bytes += text;
    return *this;
  }
  Image& head(uint64_t tensors, uint64_t keys, uint32_t version = 3) {
    return number(version).number(tensors).number(keys);
  }
  Image& tensor(const std::string& name, std::vector<uint64_t> shape, uint32_t type, uint64_t offset) {
    string(name).number(static_cast<uint32_t>(shape.size()));
    for (const uint64_t size : shape) number(size);
    return number(type).number(offset);
  }
  Image& data(size_t size) {
    bytes.resize((bytes.size() + 31) / 32 * 32 + size);
    return *this;
  }
  std::string error() const {
    return error_of([&] { GgufFile(bytes_of(bytes), "x.gguf"); });
  }
};

TEST(Gguf, RefusesWhatIsWrongNamingIt) {
  EXPECT_EQ(Image().head(1, 0).tensor("a", {32}, 8, 0).data(34).error(), "");
  EXPECT_EQ(Image{.bytes = "GGML"}.error(), "x.gguf: expected a GGUF file, got one that does not begin with GGUF");
  EXPECT_EQ(Image().error(), "x.gguf: version: expected 4 bytes, got 0 up to the end (byte 4)");
  EXPECT_THAT(Image().head(0, 0, 1).error(), HasSubstr("version: expected 2 or 3, got 1"));
  EXPECT_THAT(Image().head(0, 0, 3u << 24).error(), HasSubstr("(big-endian?)"));
  EXPECT_THAT(Image().head(1u << 30, 0).data(64).error(), HasSubstr("number of tensors: expected a number of at most"));
  EXPECT_THAT(Image().head(0, ~uint64_t{0}).data(64).error(),
              HasSubstr("number of keys: expected a number of at most"));
  EXPECT_THAT(Image().head(0, 1).string("k").number(13u).data(9).error(), HasSubstr("k: expected a type from 0 to 12"));
  EXPECT_THAT(Image().head(0, 1).string("k").number(8u).number(uint64_t{1} << 60).error(),
              HasSubstr("k: expected a number of at most 0 (the file's size), got 1152921504606846976"));
  EXPECT_THAT(Image().head(0, 1).string("k").number(7u).number(uint8_t{2}).error(),
              HasSubstr("k: expected false or true"));
  EXPECT_THAT(Image().head(0, 1).string("k").number(9u).number(9u).number(uint64_t{0}).error(),
              HasSubstr("k: expected an array of numbers or strings, got one of arrays"));
  EXPECT_THAT(Image().head(0, 1).string("k").number(9u).number(4u).number(uint64_t{1} << 62).error(),
              HasSubstr("k: expected a number of at most 0"));
  EXPECT_THAT(
      Image().head(0, 2).string("k").number(0u).number(uint8_t{1}).string("k").number(0u).number(uint8_t{1}).error(),
      HasSubstr("k: expected each key once"));
  EXPECT_THAT(Image().head(0, 1).string("\xff").number(0u).number(uint8_t{1}).error(),
              HasSubstr("key 0: expected a name"));
  EXPECT_THAT(Image().head(0, 1).string("general.alignment").number(4u).number(24u).error(),
              HasSubstr("general.alignment: expected a power of two"));
  EXPECT_THAT(Image().head(0, 1).string("split.count").number(4u).number(3u).error(), HasSubstr("got one of 3"));
  const auto tensor = [](std::vector<uint64_t> shape, uint32_t type, uint64_t offset, size_t data) {
    return Image().head(1, 0).tensor("a", std::move(shape), type, offset).data(data).error();
  };
  EXPECT_THAT(tensor({32}, 8, 0, 33), HasSubstr("a: expected its 34 bytes at offset 0 within 33 bytes of data"));
  EXPECT_THAT(tensor({32}, 8, 32, 34), HasSubstr("a: expected its 34 bytes at offset 32 within 34"));
  EXPECT_THAT(tensor({32}, 8, ~uint64_t{31}, 34), HasSubstr("a: expected its 34 bytes at offset"));
  EXPECT_THAT(tensor({33}, 8, 0, 99), HasSubstr("a: expected rows of a multiple of 32 values (Q8_0), got [33]"));
  EXPECT_THAT(tensor({}, 8, 0, 99), HasSubstr("a: expected rows of a multiple of 32 values"));
  EXPECT_THAT(tensor({4}, 0, 8, 99), HasSubstr("a: expected an offset that is a multiple of 32, got 8"));
  EXPECT_THAT(tensor({4}, 5, 0, 99), HasSubstr("a: expected F32, F16, BF16, Q8_0"));
  EXPECT_THAT(tensor({1, 1, 1, 1, 1}, 0, 0, 99), HasSubstr("a: expected at most 4 dimensions, got 5"));
  EXPECT_THAT(tensor({uint64_t{1} << 62, 4}, 0, 0, 99), HasSubstr("x.gguf: a: "));
  EXPECT_THAT(tensor({uint64_t{1} << 62}, 0, 0, 99), HasSubstr("x.gguf: a: expected a size that a file can have"));
  EXPECT_THAT(Image().head(2, 0).tensor("a", {16}, 0, 0).tensor("b", {16}, 0, 32).data(96).error(),
              HasSubstr("b: expected data of its own, got some that a has too"));
  EXPECT_THAT(Image().head(2, 0).tensor("a", {8}, 0, 0).tensor("a", {8}, 0, 32).data(64).error(),
              HasSubstr("a: expected each tensor once"));
}

TEST(Gguf, FilesCutAnywhereAreRefused) {
  const std::string whole = read_file(kTypes);
  for (size_t size = 0; size < whole.size(); size += size < 4096 ? 7 : 331) {
    const std::string part = whole.substr(0, size);
    EXPECT_THAT(error_of([&] { GgufFile(bytes_of(part), "x.gguf"); }), HasSubstr("x.gguf: ")) << size;
  }
}

TEST(Gguf, DamagedFilesAreReadOrRefused) {
  const std::string whole = read_file(kTypes);
  constexpr uint64_t kHead = 3000;  // metadata and table of tensors
  Rng rng(1);
  int read = 0;
  for (int i = 0; i < 2000; ++i) {
    std::string text = whole;
    for (uint64_t changes = 1 + rng.below(4); changes > 0; --changes)
      text[rng.below(kHead)] = static_cast<char>(rng.below(256));
    try {
      const GgufFile file(bytes_of(text), "x.gguf");
      for (const GgufTensor& tensor : file.tensors()) values_of(file, tensor.name);
      ++read;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kData);
    }
  }
  EXPECT_GT(read, 100);
  EXPECT_LT(read, 1900);
}

TEST(Half, RoundsToNearestAndBack) {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const float value = half_to_float(static_cast<uint16_t>(bits));
    if (std::isnan(value)) continue;
    ASSERT_EQ(float_to_half(value), bits);
    if ((bits & 0x7FFF) >= 0x7BFF) continue;
    const float next = half_to_float(static_cast<uint16_t>(bits + 1)), middle = (value + next) / 2;  // exact
    ASSERT_EQ(float_to_half(middle), bits + (bits & 1)) << bits;                                     // ties to even
    ASSERT_EQ(float_to_half(std::nextafter(middle, next)), bits + 1);
    ASSERT_EQ(float_to_half(std::nextafter(middle, value)), bits);
  }
  EXPECT_EQ(float_to_half(65519.996f), 0x7BFF);
  EXPECT_EQ(float_to_half(65520.0f), 0x7C00);
  EXPECT_EQ(float_to_half(INFINITY), 0x7C00);
  EXPECT_EQ(float_to_half(NAN) & 0x7E00, 0x7E00);
  EXPECT_EQ(float_to_half(1e-8f), 0);
}

}  // namespace
}  // namespace troupe
