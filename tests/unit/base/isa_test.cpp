#include "base/isa.h"

#include <gtest/gtest.h>

#include "error_of.h"

namespace troupe {
namespace {

TEST(Isa, AnUnsetVariableTakesWhatTheMachineHas) {
  EXPECT_EQ(choose_isa(nullptr, Isa::kAvx512), Isa::kAvx512);
  EXPECT_EQ(choose_isa(nullptr, Isa::kGeneric), Isa::kGeneric);
}

TEST(Isa, AVariableCapsTheChoice) {
  EXPECT_EQ(choose_isa("generic", Isa::kAmx), Isa::kGeneric);
  EXPECT_EQ(choose_isa("avx2", Isa::kAmx), Isa::kAvx2);
  EXPECT_EQ(choose_isa("avx512", Isa::kAvx512), Isa::kAvx512);
  EXPECT_EQ(choose_isa("avx512bf16", Isa::kAmx), Isa::kAvx512Bf16);
  EXPECT_EQ(choose_isa("amx", Isa::kAmx), Isa::kAmx);
}

TEST(Isa, AnUnavailableLevelIsAnErrorThatNamesTheBestOne) {
  EXPECT_EQ(test::error_of([] { choose_isa("amx", Isa::kAvx2); }, ErrorCode::kEnvironment),
            "TROUPE_ISA: expected an instruction set of this machine, got amx (best here: avx2)");
}

TEST(Isa, AnUnknownLevelIsAnErrorThatNamesTheNearest) {
  EXPECT_EQ(test::error_of([] { choose_isa("avx51", Isa::kAmx); }, ErrorCode::kEnvironment),
            "TROUPE_ISA: expected generic, avx2, avx512, avx512bf16 or amx, got 'avx51' (did you mean avx512?)");
  EXPECT_NE(test::error_of([] { choose_isa("", Isa::kAmx); }, ErrorCode::kEnvironment), "");
}

TEST(Isa, NamesAreThoseOfTheVariable) {
  for (const auto& [name, isa] : EnumNames<Isa>::values)
    EXPECT_EQ(choose_isa(std::string(name).c_str(), Isa::kAmx), isa);
}

}  // namespace
}  // namespace troupe
