#include "eval/data_sets.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "data/tokenizer/bpe_trainer.h"
#include "error_of.h"
#include "io/atomic_file.h"
#include "temporary_folder.h"

namespace troupe {
namespace {

using test::error_of;
using test::TemporaryFolder;
using testing::ElementsAre;
using testing::HasSubstr;

struct DataSets : testing::Test {
  const TemporaryFolder folder;
  ModelConfig config;

  std::string file(const std::string& name, const std::string& text) const {
    write_file_atomically(folder / name, text);
    return (folder / name).string();
  }
  DataSetReader reader(EvalTextOptions options = {}) {
    BpeTrainer trainer({.vocab_size = 258});
    trainer.add("aa bb");
    trainer.finish().save(folder / "tokenizer.json");
    config.vocab_size = 300, config.eos_id = 0;
    return {{}, std::move(options), folder.path(), config};
  }
};

TEST_F(DataSets, AreNamedByTheirFilesOrByTheUser) {
  const std::string plain = file("3.10.txt.zst", ""), lines = file("b.jsonl", ""), more = file("c.txt", "");
  const std::vector<DataSet> sets = parse_data_sets({plain, "mine=" + lines, "mine=" + more});
  ASSERT_EQ(sets.size(), 2U);
  EXPECT_EQ(sets[0].name, "3.10");
  EXPECT_EQ(sets[1].name, "mine");
  EXPECT_THAT(sets[1].paths, ElementsAre(lines, more));
}

TEST_F(DataSets, OfOneNameAreRefusedUnlessItWasGivenForOtherFiles) {
  const std::string a = file("a.txt", ""), b = file("a.jsonl", "");
  EXPECT_THAT(error_of([&] { parse_data_sets({a, b}); }, ErrorCode::kUsage),
              HasSubstr("--data: expected names that differ, got a for " + a + " and " + b));
  EXPECT_THAT(error_of([&] { parse_data_sets({"x=" + a, "x=" + a}); }, ErrorCode::kUsage),
              HasSubstr("--data: x: expected each file once, got " + a + " twice"));
}

TEST_F(DataSets, OfTextAreReadWithTheModelsTokenizerAndCountWhatIsDamaged) {
  EvalTextOptions options;
  options.text.on_bad = OnBad::kSkip;
  const std::vector<SetText> read =
      reader(options).read({.name = "t", .paths = {file("t.jsonl", "{\"text\":\"aa bb\"}\n{\"text\":3}\n")}});
  ASSERT_EQ(read.size(), 1U);
  EXPECT_EQ(read[0].text.documents(), 1);
  EXPECT_EQ(read[0].text.ids.back(), 0);
  EXPECT_EQ(read[0].tokenizer, TokenizerMatch::kSame);
  EXPECT_EQ(read[0].skipped, 1);
}

TEST_F(DataSets, OfIdsAreOnePathWithoutFields) {
  DatasetWriter writer(folder / "shards", {258, 0, 1}, 100);
  writer.add(std::vector<int32_t>{1, 0}, 1);
  writer.finish();
  const std::string shards = (folder / "shards").string(), text = file("t.txt", "aa");
  EXPECT_THAT(error_of([&] { reader().read({.name = "s", .paths = {shards, text}}); }, ErrorCode::kUsage),
              HasSubstr("--data: s: expected one folder of shards or one pair of fairseq files, got 2 paths"));
  EvalTextOptions by_field;
  by_field.text.meta_field = "meta";
  EXPECT_THAT(error_of([&] { reader(by_field).read({.name = "s", .paths = {shards}}); }, ErrorCode::kUsage),
              HasSubstr("--by-field: expected JSON lines, got token ids, " + shards));
  EXPECT_THAT(error_of([&] { reader().read({.name = "s", .paths = {shards}}); }),
              HasSubstr("expected shards written with the tokenizer in"));
}

}  // namespace
}  // namespace troupe
