#include "train/run_config.h"

#include <fmt/core.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "io/atomic_file.h"
#include "io/toml_config.h"
#include "temporary_folder.h"
#include "troupe/error.h"

namespace troupe {
namespace {

RunConfig sound() {
  RunConfig config;
  config.train.steps = 10;
  config.data.train = {"a=x", "b=y"};
  return config;
}

// What check() says of a sound configuration with these overrides; "" if it has no objection.
std::string objection(const std::vector<std::string>& overrides) {
  RunConfig config = sound();
  FieldList fields = fields_of(config);
  try {
    for (const std::string& text : overrides) apply_override(text, fields);
    check(config, "run.toml");
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kUsage);
    return error.what();
  }
  return {};
}

using ::testing::HasSubstr;

TEST(RunConfig, NumbersThatCannotBeAreRefused) {
  EXPECT_EQ(objection({}), "");
  EXPECT_THAT(objection({"train.steps=0", "train.tokens=9223372036854775807"}),
              HasSubstr("train.tokens: expected a whole number in [0, 1000000000000000], got 9223372036854775807"));
  EXPECT_THAT(objection({"train.seed=-1"}), HasSubstr("train.seed: expected"));
  EXPECT_THAT(objection({"model.num_layers=4096", "model.d_model=1048576", "model.d_ff=16777216"}),
              HasSubstr("run.toml: model: expected at most 1e+16 parameters, got 1.6e+17"));
  EXPECT_THAT(objection({"train.steps=1e12", "train.batch_sequences=16777216", "model.context=16777216"}),
              HasSubstr("train.steps x train.batch_sequences x model.context: expected a product below 2^63, got "
                        "1000000000000 x 16777216 x 16777216"));
  EXPECT_THAT(objection({"train.precision=fp8"}),
              HasSubstr("train.precision: expected one of auto, fp32, bf16, got \"fp8\" (did you mean fp32?)"));
}

TEST(RunConfig, WeightsOfDataHaveSumsAndShares) {
  EXPECT_EQ(objection({R"(data.weights=["a=1e9", "b=1e-9"])"}), "");
  for (const char* bad : {"0", "-1", "nan", "", "1x", "0x10", " 1", "much", "1e309"})
    EXPECT_THAT(objection({R"(data.weights=["a=1", "b=)" + std::string(bad) + "\"]"}),
                HasSubstr("run.toml: data.weights: b: expected a number above 0, got "))
        << bad;
  for (const char* bad : {"1e308", "inf", "1e-300"})
    EXPECT_THAT(objection({R"(data.weights=["a=1", "b=)" + std::string(bad) + "\"]"}),
                HasSubstr("run.toml: data.weights: b: expected a number from 1e-09 to 1000000000, got "))
        << bad;
  EXPECT_THAT(objection({R"(data.weights=["a=1", "a=2"])"}), HasSubstr("expected each dataset once, got a twice"));
  EXPECT_THAT(objection({R"(data.weights=["a=1", "c=1"])"}),
              HasSubstr("run.toml: data.weights: expected a name from data.train, got c"));
  EXPECT_THAT(objection({R"(data.weights=["a=1"])"}),
              HasSubstr("run.toml: data.weights: expected a weight for every dataset or for none, got none for b"));
  EXPECT_THAT(objection({R"(data.train=["a=x", "a=y"])"}),
              HasSubstr("run.toml: data.train: expected different names, got a twice (write NAME=FOLDER)"));
}

TEST(RunConfig, RatesOfGroupsAreOfSomeParametersAndFollowTheSchedule) {
  EXPECT_EQ(objection({"train.optimizer.lr.embedding=0.15", "train.optimizer.lr.matrices=0.02"}), "");
  EXPECT_THAT(
      objection({"train.optimizer.lr.head=0.004"}),
      HasSubstr("run.toml: train.optimizer.lr.head: expected 0, got 0.004 (the model has no parameters of this "));
  EXPECT_THAT(objection({"train.schedule.lr=0", "train.optimizer.lr.rest=0.1"}),
              HasSubstr("run.toml: train.optimizer.lr.rest: expected train.schedule.lr above 0 with it, got 0"));
}

TEST(RunConfig, WhatDecaysIsMovedByWhoDecaysIt) {
  EXPECT_EQ(objection({"train.optimizer.matrices=muon", "train.adam.weight_decay=0.1", "train.muon.weight_decay=0.1"}),
            "");
  EXPECT_THAT(
      objection(
          {"train.optimizer.matrices=muon", "train.adam.weight_decay=0.1", "train.adam.weight_decay_of=matrices"}),
      HasSubstr("train.adam.weight_decay: expected 0 where Adam moves no matrices and they alone decay, got 0.1 "
                "(train.muon.weight_decay is"));
}

TEST(RunConfig, AWeightOfOneChoiceIsNotDividedByItself) {
  EXPECT_EQ(objection({"model.moe.num_experts=4", "model.moe.top_k=1", "model.moe.normalize=never"}), "");
  EXPECT_THAT(objection({"model.moe.num_experts=4", "model.moe.top_k=1"}),
              HasSubstr("run.toml: model: moe.normalize: expected never with moe.top_k 1, got after_dropping"));
}

TEST(RunConfig, ReleasedGradientsExcludeWhatNeedsAllOfThem) {
  const std::string key = "train.optimizer.release_gradients=true";
  EXPECT_EQ(objection({key}), "");
  EXPECT_THAT(
      objection({key, "train.clip_norm=1"}),
      HasSubstr("run.toml: train.optimizer.release_gradients: expected train.clip_norm = 0 with it, got 1 (the "));
  EXPECT_THAT(
      objection({key, "train.batch_sequences=8", "train.micro_sequences=4"}),
      HasSubstr("release_gradients: expected train.micro_sequences = 8, all of an update with it, got 4 (gradi"));
}

TEST(RunConfig, ARecipeStandsBelowTheFileItsBaseAndOverrides) {
  const test::TemporaryFolder folder;
  const auto write = [&](const char* name, std::string_view text) {
    write_file_atomically(folder / name, text);
    return folder / name;
  };
  write("base.toml", "[model]\nnum_layers = 3\n[train.schedule]\nlr = 0.5\n");
  const auto file = write("run.toml", "base = \"base.toml\"\nrecipe = \"modern\"\n[model]\nnorm = \"layer\"\n");
  const RunConfig config = load_run_config(file, {"train.adam.beta2=0.9"});
  EXPECT_EQ(config.model.qk_norm, QkNorm::kHead);  // the recipe's
  EXPECT_EQ(config.train.optimizer.matrices, MatrixOptimizer::kMuon);
  EXPECT_EQ(config.train.adam.beta1, 0.8);
  EXPECT_EQ(config.model.num_layers, 3);  // the base's
  EXPECT_EQ(config.train.schedule.lr, 0.5);
  EXPECT_EQ(config.model.norm, Norm::kLayer);  // the file's
  EXPECT_EQ(config.train.adam.beta2, 0.9);     // the override's

  RunConfig written = config;  // what a run records says all of it
  const auto record = write("record.toml", to_toml(fields_of(written)));
  RunConfig again = load_run_config(record);
  EXPECT_EQ(to_toml(fields_of(again)), to_toml(fields_of(written)));
  EXPECT_EQ(load_run_config(file, {"recipe=none"}).model.qk_norm, QkNorm::kNone);
  EXPECT_EQ(load_run_config(file, {"recipe=paper"}).train.adam.beta2, 0.98);
  EXPECT_THROW(load_run_config(file, {"recipe=model"}), Error);
}

// Every recipe is made of keys that exist, and stands with the sizes of a file that gives none.
TEST(RunConfig, RecipesAreSound) {
  const test::TemporaryFolder folder;
  write_file_atomically(folder / "run.toml", "");
  for (const auto& [name, recipe] : EnumNames<Recipe>::values) {
    const RunConfig config = load_run_config(folder / "run.toml", {fmt::format("recipe={}", name)});
    EXPECT_EQ(config.recipe, recipe);
    check_rules(config, "run.toml");
  }
}

TEST(RunConfig, FilesOfTasksAndTheirDataStartFromTheFileAndNamesStay) {
  RunConfig config;
  FieldList fields = fields_of(config);
  read_config_text("[train.tasks]\nnames = [\"piqa\", \"mine/pets.toml\", \"/abs/a=b.toml\"]\ndata_dir = \"data\"\n",
                   "run.toml", "configs", fields);
  EXPECT_THAT(config.train.tasks.names, testing::ElementsAre("piqa", "configs/mine/pets.toml", "/abs/a=b.toml"));
  EXPECT_EQ(config.train.tasks.data_dir, "configs/data");
  apply_override("train.tasks.names=mine/pets.toml", fields);
  apply_override("train.tasks.data_dir=data", fields);
  EXPECT_THAT(config.train.tasks.names, testing::ElementsAre("mine/pets.toml"));
  EXPECT_EQ(config.train.tasks.data_dir, "data");
  EXPECT_THAT(to_toml_in("runs/a", fields),
              testing::HasSubstr("names = [\"../../mine/pets.toml\"]\ndata_dir = \"../../data\""));
}

TEST(RunConfig, RulesHoldWithoutALengthOrData) {
  RunConfig config;
  check_rules(config, "model.toml");  // of a model that is part of a study
  EXPECT_THROW(check(config, "model.toml"), Error);
  config.train.micro_sequences = 3;
  EXPECT_THROW(check_rules(config, "model.toml"), Error);
}

}  // namespace
}  // namespace troupe
