// The parameter table, and stores of selections of it.
#include "nn/parameters.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>

#include "error_of.h"

namespace troupe {
namespace {

using testing::Each;
using testing::HasSubstr;

struct Small {
  ParameterTable table;
  Slot embed, qkv, experts, bias;

  Small() {
    embed = table.add({.name = "embed.weight", .shape = {5, 3}});
    qkv = table.add({{.name = "layers.7.q.weight", .shape = {3, 3}, .layer = 7},
                     {.name = "layers.7.k.weight", .shape = {3, 3}, .layer = 7}});
    experts = table.add_experts({.name = "layers.7.experts.{}.fc1.weight", .shape = {2, 3}, .layer = 7}, 12);
    bias = table.add({.name = "router.bias", .shape = {12}, .role = Role::kState});
  }
};

TEST(ParameterTable, NamesEveryParameterAndFindsItByName) {
  const Small small;
  const std::vector<Parameter> entries = small.table.entries();
  ASSERT_EQ(entries.size(), 1u + 2u + 12u + 1u);
  EXPECT_EQ(small.table.num_entries(), 16);
  EXPECT_EQ(small.table.num_parameters(), 15 + 2 * 9 + 12 * 6 + 12);
  EXPECT_EQ(entries[2 + 1 + 10].name, "layers.7.experts.10.fc1.weight");
  for (size_t i = 0; i < entries.size(); ++i) {
    const Parameter found = small.table.find(entries[i].name);
    EXPECT_EQ(found.name, entries[i].name);
    EXPECT_EQ(found.slot.begin, static_cast<int64_t>(i));
    EXPECT_EQ(found.expert, entries[i].expert);
    EXPECT_EQ(found.layer, entries[i].layer);
  }
  EXPECT_EQ(entries[13].expert, 10);
  EXPECT_EQ(entries[0].expert, -1);
  for (const char* name :
       {"layers.7.experts.12.fc1.weight", "layers.7.experts.010.fc1.weight", "layers.7.experts.{}.fc1.weight",
        "layers.7.experts.-1.fc1.weight", "layers.7.experts.99999999999999999999.fc1.weight", "embed",
        "layers.7.experts..fc1.weight", "layers.8.q.weight", ""})
    EXPECT_FALSE(small.table.find_or_null(name)) << name;
  EXPECT_THAT(test::error_of([&] { static_cast<void>(small.table.find("layers.8.q.weight")); }),
              HasSubstr("parameter layers.8.q.weight: the model has none of that name"));
}

// Thousands of experts are one entry, and counts that no machine holds are refused rather than wrapped around.
TEST(ParameterTable, CountsExpertsWithoutNamingThem) {
  ParameterTable table;
  for (int64_t layer = 0; layer < 64; ++layer)
    table.add_experts({.name = "layers." + std::to_string(layer) + ".experts.{}", .shape = {1 << 20, 1 << 20}}, 8192);
  EXPECT_EQ(table.families().size(), 64u);
  EXPECT_EQ(table.num_parameters(), int64_t{64} * 8192 << 40);
  EXPECT_THAT(test::error_of(
                  [&] {
                    table.add_experts({.name = "more.{}", .shape = {1 << 24, 1 << 20}}, 65536 * int64_t{4096});
                  },
                  ErrorCode::kUsage),
              HasSubstr("expected fewer than 2^63 parameters, got more (up to more.{})"));
}

TEST(ParameterStore, HoldsTensorsOnCacheLinesAndTheirPartsBackToBack) {
  const Small small;
  ParameterStore<float> store(small.table);
  std::span<float> all = store.all();
  std::iota(all.begin(), all.end(), 0.0f);
  EXPECT_EQ(all.size(), 16u + 32u + 80u + 16u);  // 15, 18, 72 and 12, each to a multiple of 16
  EXPECT_EQ(store.at(small.embed).front(), 0.0f);
  EXPECT_EQ(store.at(small.qkv).front(), 16.0f);
  EXPECT_EQ(store.at(small.qkv).size(), 18u);
  EXPECT_EQ(store.at("layers.7.k.weight").front(), 16.0f + 9.0f);
  EXPECT_EQ(store.at("layers.7.experts.11.fc1.weight").front(), 48.0f + 66.0f);
  EXPECT_EQ(store.at(small.experts).size(), 72u);
  EXPECT_TRUE(store.at(Slot{}).empty());
  EXPECT_EQ(std::as_const(store).at(small.bias).data(), store.at(small.bias).data());
}

TEST(ParameterStore, OfASelectionHasRoomForItAlone) {
  const Small small;
  ParameterStore<float> local(small.table, [](const Parameter& p) { return p.expert >= 4 && p.expert < 6; });
  EXPECT_EQ(local.all().size(), 16u);
  EXPECT_TRUE(local.at(small.embed).empty());
  EXPECT_TRUE(local.at(small.qkv).empty());
  EXPECT_TRUE(local.at("layers.7.experts.3.fc1.weight").empty());
  EXPECT_TRUE(local.at("layers.7.experts.6.fc1.weight").empty());
  EXPECT_EQ(local.at(small.experts).size(), 12u);
  EXPECT_EQ(local.at("layers.7.experts.5.fc1.weight").data(), local.at(small.experts).data() + 6);
  const std::vector<Parameter> held = local.entries();
  ASSERT_EQ(held.size(), 2u);
  EXPECT_EQ(held[0].name, "layers.7.experts.4.fc1.weight");

  const ParameterStore<float> trained(small.table, [](const Parameter& p) { return p.trainable(); });
  EXPECT_TRUE(trained.at(small.bias).empty());
  EXPECT_EQ(trained.entries().size(), 15u);
}

// A parameter starts from the same values whatever else the store holds.
TEST(ParameterStore, InitialValuesDependOnTheNameAlone) {
  ParameterTable table;
  table.add({.name = "a", .shape = {40}, .init = {Init::kUniform, 1.0}});
  table.add_experts({.name = "e.{}", .shape = {8}, .init = {Init::kNormal, 1.0}}, 6);
  ParameterStore<float> whole(table), part(table, [](const Parameter&p) { return p.expert == 3; });
  initialize(whole, 9);
  initialize(part, 9);
  EXPECT_TRUE(std::ranges::equal(whole.at("e.3"), part.at("e.3")));
  EXPECT_FALSE(std::ranges::equal(whole.at("e.3"), whole.at("e.2")));
  whole.set_zero();
  EXPECT_THAT(whole.all(), Each(0.0f));
}

}  // namespace
}  // namespace troupe
