// Text to score from token shards: whole documents, up to a number of tokens, whatever the size of the shards.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "error_of.h"
#include "eval/eval_text.h"
#include "temporary_folder.h"

namespace troupe {
namespace {

using test::error_of;
using test::TemporaryFolder;
using testing::ElementsAre;
using testing::HasSubstr;

// Documents of 3, 1, 4 and 2 ids, end-of-text (0) included, of 30, 10, 40 and 20 bytes.
TokenDataset write_dataset(const std::filesystem::path& folder, int64_t shard_tokens) {
  DatasetWriter writer(folder, {.size = 9, .end_of_text = 0, .tokenizer = 1}, shard_tokens);
  writer.add(std::vector<int32_t>{1, 2}, 30);
  writer.add(std::vector<int32_t>{}, 10);
  writer.add(std::vector<int32_t>{3, 4, 5}, 40);
  writer.add(std::vector<int32_t>{6}, 20);
  writer.finish();
  return TokenDataset(folder);
}

TEST(EvalShards, AreWholeDocumentsWhateverTheShardSize) {
  const TemporaryFolder folder;
  std::string checksum;
  for (const int64_t shard_tokens : {1, 4, 100}) {
    const TokenDataset dataset = write_dataset(folder / std::to_string(shard_tokens), shard_tokens);
    const EvalText all = read_eval_shards("x", dataset, 0);
    EXPECT_EQ(all.name, "x");
    EXPECT_THAT(all.ids, ElementsAre(1, 2, 0, 0, 3, 4, 5, 0, 6, 0));
    EXPECT_THAT(all.begin, ElementsAre(0, 3, 4, 8, 10));
    EXPECT_THAT(all.document_bytes, ElementsAre(30, 10, 40, 20));
    if (checksum.empty()) checksum = all.checksum();
    EXPECT_EQ(all.checksum(), checksum);

    for (const int64_t at_most : {4, 7}) {  // cut at a document
      const EvalText part = read_eval_shards("x", dataset, 0, at_most);
      EXPECT_THAT(part.ids, ElementsAre(1, 2, 0, 0)) << shard_tokens << " " << at_most;
      EXPECT_THAT(part.begin, ElementsAre(0, 3, 4));
      EXPECT_EQ(part.bytes(), 40);
      EXPECT_NE(part.checksum(), checksum);
    }
    EXPECT_EQ(read_eval_shards("x", dataset, 0, 8).documents(), 3);
    EXPECT_EQ(read_eval_shards("x", dataset, 0, 1).tokens(), 3);  // at least one document
    EXPECT_EQ(read_eval_shards("x", dataset, 0, 10).checksum(), checksum);
    EXPECT_EQ(read_eval_shards("x", dataset, 0, 1000).checksum(), checksum);
    EXPECT_THAT(error_of([&] { read_eval_shards("x", dataset, 7); }),
                HasSubstr("end_of_text: expected the model's eos_id 7, got 0"));
  }
}

}  // namespace
}  // namespace troupe
