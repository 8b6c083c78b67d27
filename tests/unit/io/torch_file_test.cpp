// Files written by tools/make_torch_test_files.py.
#include "io/torch_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "base/rng.h"
#include "error_of.h"
#include "io/atomic_file.h"
#include "temporary_folder.h"

namespace troupe {
namespace {

using test::error_of;
using test::TemporaryFolder;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Pair;
using testing::UnorderedElementsAre;

const std::filesystem::path kData = std::filesystem::path(TROUPE_TEST_DATA) / "torch";

std::span<const uint8_t> as_bytes(const std::string& text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

struct Layouts : testing::TestWithParam<const char*> {
  TorchFile file{kData / GetParam()};

  TorchTensor tensor(const std::string& name) const {
    const PickleValue* model = file.pickle().find(file.pickle().root(), "model");
    const PickleValue* value = file.pickle().find(*model, name);
    EXPECT_NE(value, nullptr) << name;
    return file.tensor(name, *value);
  }
  std::vector<float> values(const std::string& name) const {
    const TorchTensor found = tensor(name);
    std::vector<float> out(static_cast<size_t>(num_elements(found.shape)));
    file.read_f32(found, out);
    return out;
  }
};

TEST_P(Layouts, HonourStrideAndOffset) {
  EXPECT_EQ(tensor("plain").shape, (Shape{4, 6}));
  EXPECT_TRUE(tensor("plain").is_contiguous());
  EXPECT_FALSE(tensor("transposed").is_contiguous());
  for (int i = 0; i < 6; ++i)
    for (int j = 0; j < 4; ++j)
      EXPECT_EQ(values("transposed")[static_cast<size_t>(i * 4 + j)], static_cast<float>(j * 6 + i) / 8);
  EXPECT_THAT(values("slice"), ElementsAre(1.0f, 1.125f, 1.25f, 1.75f, 1.875f, 2.0f));
  EXPECT_THAT(values("expanded"), ElementsAre(1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3));
  EXPECT_EQ(tensor("permuted").shape, (Shape{4, 2, 3}));
  for (int i = 0; i < 4; ++i)
    for (int j = 0; j < 2; ++j)
      for (int k = 0; k < 3; ++k)
        EXPECT_EQ(values("permuted")[static_cast<size_t>(i * 6 + j * 3 + k)],
                  static_cast<float>(j * 12 + k * 4 + i) / 8);
  EXPECT_THAT(values("scalar"), ElementsAre(2.5f));
  EXPECT_EQ(tensor("scalar").shape, Shape{});
  EXPECT_TRUE(values("empty").empty());
  EXPECT_THAT(values("parameter"), ElementsAre(0, 0.125f, 0.25f, 0.375f));
}

TEST_P(Layouts, ConvertEveryFloatingDtype) {
  for (size_t i = 0; i < 24; ++i) {
    EXPECT_EQ(values("half")[i], static_cast<float>(i) / 8 - 1);
    EXPECT_EQ(values("bf16")[i], static_cast<float>(bf16(static_cast<float>(i) / 8 - 1)));
    EXPECT_EQ(values("double")[i], static_cast<float>(static_cast<double>(static_cast<float>(i) / 8) / 3));
  }
  EXPECT_EQ(tensor("long").dtype, DType::kI64);
  EXPECT_EQ(tensor("int").dtype, DType::kI32);
  EXPECT_EQ(tensor("bool").dtype, DType::kBool);
  EXPECT_THAT(error_of([&] { values("long"); }), HasSubstr("long: expected a floating-point dtype, got I64"));
}

TEST_P(Layouts, ShareStorageBetweenTiedTensors) {
  EXPECT_EQ(tensor("tied_b").bytes.data(), tensor("tied_a").bytes.data() + 6 * 4);
  EXPECT_EQ(values("tied_b")[0], 0.75f);
}

INSTANTIATE_TEST_SUITE_P(TorchFile, Layouts, testing::Values("layouts.pt", "layouts-protocol4.pt"));

TEST(TorchFile, NeverExecutesAMaliciousPickle) {
  const auto trace = std::filesystem::path("pickle-was-executed");
  std::filesystem::remove(trace);
  const TorchFile file(kData / "malicious.pt");
  EXPECT_FALSE(std::filesystem::exists(trace));
  EXPECT_THAT(file.pickle().inert(), UnorderedElementsAre(Pair("posix.system", 1), Pair("somewhere.meters.Meter", 1)));
  const PickleValue* model = file.pickle().find(file.pickle().root(), "model");
  const TorchTensor weight = file.tensor("weight", *file.pickle().find(*model, "weight"));
  EXPECT_EQ(weight.shape, Shape{3});
}

TEST(TorchFile, NamesTheFileInEveryError) {
  const TemporaryFolder folder;
  write_file_atomically(folder / "old.pt", std::string_view("\x80\x02\x8a\x0al\xfc", 6));
  EXPECT_THAT(error_of([&] { TorchFile(folder / "old.pt"); }),
              AllOf(HasSubstr("old.pt"), HasSubstr("torch before 1.6")));
  EXPECT_THAT(error_of([&] { TorchFile(folder / "none.pt"); }), AllOf(HasSubstr("none.pt"), HasSubstr("No such file")));
  EXPECT_THAT(error_of([&] { TorchFile{folder.path()}; }), HasSubstr("got a folder"));
  EXPECT_THAT(error_of([&] {
                const std::string whole = read_file(kData / "layouts.pt");
                TorchFile(as_bytes(whole).first(whole.size() - 30), "cut.pt");
              }),
              HasSubstr("cut.pt: expected a zip directory at the end"));
}

TEST(TorchFile, RefusesElementsOutsideTheStorage) {
  // `slice` has 2 rows, 6 apart, of 3: its last element is number 8 after its first.
  const TorchFile file(kData / "layouts.pt");
  const PickleValue* model = file.pickle().find(file.pickle().root(), "model");
  PickleValue value = *file.pickle().find(*model, "slice");
  value.integer = 15;
  EXPECT_NO_THROW(file.tensor("slice", value));
  value.integer = 16;
  EXPECT_THAT(error_of([&] { file.tensor("slice", value); }),
              HasSubstr("layouts.pt: slice: expected elements inside a storage of 24, got offset 16"));
  value.integer = INT64_MAX;
  EXPECT_NE(error_of([&] { file.tensor("slice", value); }), "");
  value.integer = -1;
  EXPECT_NE(error_of([&] { file.tensor("slice", value); }), "");
  value.integer = 0;
  value.stride = {INT64_MAX, 1};
  EXPECT_NE(error_of([&] { file.tensor("slice", value); }), "");
  value.stride = {-1, 1};
  EXPECT_NE(error_of([&] { file.tensor("slice", value); }), "");
  value.stride = {0, 0};
  value.shape = {int64_t{1} << 62, 4};
  EXPECT_THAT(error_of([&] { file.tensor("slice", value); }), HasSubstr("slice: shape"));
}

// Opens every tensor in bytes that may be damaged: an Error or a value, never a crash.
bool opens(std::span<const uint8_t> bytes) {
  try {
    const TorchFile file(bytes, "damaged.pt");
    const PickleValue* model = file.pickle().find(file.pickle().root(), "model");
    if (!model) return false;
    for (const auto& [key, value] : file.pickle().pairs(*model)) {
      const TorchTensor tensor = file.tensor(key->text, *value);
      if (num_elements(tensor.shape) > 10000) continue;  // strides of 0 make any size legal
      std::vector<float> out(static_cast<size_t>(num_elements(tensor.shape)));
      if (tensor.dtype <= DType::kBf16) file.read_f32(tensor, out);
    }
    return true;
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kData) << error.what();
    return false;
  }
}

TEST(TorchFile, SurvivesEveryTruncation) {
  const std::string whole = read_file(kData / "layouts.pt");
  ASSERT_TRUE(opens(as_bytes(whole)));
  for (size_t size = 0; size < whole.size(); ++size) EXPECT_FALSE(opens(as_bytes(whole).first(size))) << size;
}

TEST(TorchFile, SurvivesRandomDamage) {
  const std::string whole = read_file(kData / "layouts.pt");
  Rng rng(7);
  int opened = 0;
  for (int i = 0; i < 5000; ++i) {
    std::string damaged = whole;
    for (uint64_t n = 1 + rng.below(4); n > 0; --n)
      damaged[rng.below(damaged.size())] = static_cast<char>(rng.next_u32());
    opened += opens(as_bytes(damaged));
  }
  EXPECT_GT(opened, 100);  // damage to the values alone goes unseen
  EXPECT_LT(opened, 4900);
}

}  // namespace
}  // namespace troupe
