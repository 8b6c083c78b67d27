// Token shards and datasets: what is written is read back, and damage is named.
#include <fmt/core.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <fstream>

#include "base/rng.h"
#include "data/shards/dataset.h"
#include "error_of.h"
#include "io/atomic_file.h"
#include "temporary_folder.h"

namespace troupe {
namespace {

using test::error_of;
using test::TemporaryFolder;
using testing::HasSubstr;

const Vocabulary kSmall{.size = 1000, .end_of_text = 7, .tokenizer = 0x1234};

std::vector<std::vector<int32_t>> some_documents(int64_t count, int64_t vocab_size, uint64_t seed = 1) {
  Rng rng(seed);
  std::vector<std::vector<int32_t>> documents(static_cast<size_t>(count));
  for (auto& document : documents) {
    document.resize(rng.below(40));
    for (int32_t& id : document) id = static_cast<int32_t>(rng.below(static_cast<uint64_t>(vocab_size)));
  }
  return documents;
}

std::string bytes_of_shard(const Vocabulary& vocabulary, const TemporaryFolder& folder) {
  ShardBuilder builder(vocabulary);
  for (const auto& document : some_documents(5, vocabulary.size)) builder.add(document, 10);
  std::filesystem::remove(folder / "a.tok");
  builder.write(folder / "a.tok");
  return read_file(folder / "a.tok");
}

void put(std::string& bytes, size_t offset, uint64_t value) { std::memcpy(bytes.data() + offset, &value, 8); }

std::string message_for(const std::string& bytes, const TemporaryFolder& folder) {
  std::ofstream(folder / "bad.tok", std::ios::binary) << bytes;  // not synced: there are many
  return error_of([&] { TokenShard(folder / "bad.tok").verify(); });
}

class ShardWidth : public testing::TestWithParam<int64_t> {};

TEST_P(ShardWidth, ReadsBackWhatWasWritten) {
  const TemporaryFolder folder;
  const Vocabulary vocabulary{.size = GetParam(), .end_of_text = 3, .tokenizer = 99};
  const auto documents = some_documents(200, vocabulary.size);
  ShardBuilder builder(vocabulary);
  for (size_t i = 0; i < documents.size(); ++i) builder.add(documents[i], static_cast<int64_t>(i));
  const FileSummary summary = builder.write(folder / "a.tok");
  EXPECT_EQ(summary.bytes, std::filesystem::file_size(folder / "a.tok"));

  const TokenShard shard(folder / "a.tok");
  shard.verify();
  EXPECT_EQ(shard.vocabulary(), vocabulary);
  ASSERT_EQ(shard.documents(), 200);
  EXPECT_EQ(shard.text_bytes(), 199 * 200 / 2);
  for (int64_t i = 0; i < shard.documents(); ++i) {
    std::vector<int32_t> ids(static_cast<size_t>(shard.document_end(i) - shard.document_begin(i)));
    shard.read(shard.document_begin(i), shard.document_end(i), ids.data());
    EXPECT_EQ(ids.back(), vocabulary.end_of_text);
    ids.pop_back();
    EXPECT_EQ(ids, documents[static_cast<size_t>(i)]);
    EXPECT_EQ(shard.document_text_bytes(i), i);
  }
}
INSTANTIATE_TEST_SUITE_P(Vocabularies, ShardWidth, testing::Values(4, 65536, 65537, int64_t{1} << 31));

TEST(Shard, NamesTokenAndByteOfAnIdOutsideTheVocabulary) {
  const TemporaryFolder folder;
  std::string bytes = bytes_of_shard(kSmall, folder);
  const size_t ids_at = 80 + 8 * (2 * 5 + 1), token = 4;
  const uint16_t bad = 1000;
  std::memcpy(bytes.data() + ids_at + 2 * token, &bad, 2);
  write_file_atomically(folder / "bad.tok", bytes);
  const std::string expected =
      fmt::format("{}: token 4 (byte {}): expected an id < 1000, got 1000", (folder / "bad.tok").string(), ids_at + 8);
  EXPECT_EQ(error_of([&] { TokenShard(folder / "bad.tok").verify(); }), expected);
  std::vector<int32_t> ids(6);
  EXPECT_EQ(error_of([&] { TokenShard(folder / "bad.tok").read(2, 8, ids.data()); }), expected);
  TokenShard(folder / "bad.tok").read(0, 4, ids.data());  // the others are readable
}

TEST(Shard, NamesTheFieldThatIsWrong) {
  const TemporaryFolder folder;
  const std::string good = bytes_of_shard(kSmall, folder);
  EXPECT_EQ(message_for(good, folder), "");
  const auto with = [&](size_t offset, uint64_t value) {
    std::string bytes = good;
    put(bytes, offset, value);
    return message_for(bytes, folder);
  };
  EXPECT_THAT(message_for("", folder), HasSubstr("expected a token shard of at least 80 bytes, got 0"));
  EXPECT_THAT(with(0, 5), HasSubstr("magic: expected a token shard"));
  EXPECT_THAT(with(8, 2), HasSubstr("version: expected 1, got 2"));
  EXPECT_THAT(with(16, 0), HasSubstr("checksum: expected 0000000000000000, got "));
  EXPECT_THAT(with(24, 4), HasSubstr("id_bytes: expected 2 for a vocabulary of 1000, got 4"));
  EXPECT_THAT(with(32, 0), HasSubstr("vocab_size: expected 1 to 2147483648, got 0"));
  EXPECT_THAT(with(40, 1000), HasSubstr("end_of_text: expected an id < 1000, got 1000"));
  EXPECT_THAT(with(48, 77), HasSubstr("checksum: expected "));
  EXPECT_THAT(with(56, UINT64_MAX / 8), HasSubstr("documents: expected at most "));
  EXPECT_THAT(with(64, UINT64_MAX / 2 + 1), HasSubstr("tokens: expected at most "));
  EXPECT_THAT(with(72, 51), HasSubstr("text_bytes: expected 50, the sum over documents, got 51"));
  EXPECT_THAT(with(80, 1), HasSubstr("document 0: expected to start at token 0, got 1"));
  EXPECT_THAT(with(88, 0), HasSubstr("document 0: expected an end between tokens 1 and "));
  EXPECT_THAT(with(88, UINT64_MAX), HasSubstr("document 0: expected an end between tokens 1 and "));
  EXPECT_THAT(with(80 + 8 * 6, UINT64_MAX), HasSubstr("document 0: text_bytes: expected at most "));
  EXPECT_THAT(message_for(good.substr(0, good.size() - 1), folder), HasSubstr("(cut short?)"));
  EXPECT_THAT(message_for(good + "x", folder), HasSubstr("(cut short?)"));
}

TEST(Shard, RefusesEveryTruncationAndEveryChangedByte) {
  const TemporaryFolder folder;
  const std::string good = bytes_of_shard(kSmall, folder);
  for (size_t size = 0; size < good.size(); ++size) EXPECT_NE(message_for(good.substr(0, size), folder), "") << size;
  Rng rng(3);
  for (size_t at = 0; at < good.size(); ++at) {
    std::string bytes = good;
    bytes[at] = static_cast<char>(bytes[at] ^ (1 + rng.below(255)));
    EXPECT_NE(message_for(bytes, folder), "") << at;
  }
}

TEST(Shard, RefusesADocumentWithoutEndOfText) {
  const TemporaryFolder folder;
  ShardBuilder builder(kSmall);
  builder.add(std::vector<int32_t>{1, 2}, 2);
  builder.write(folder / "a.tok");
  std::string bytes = read_file(folder / "a.tok");
  put(bytes, 40, 8);  // another end-of-text
  EXPECT_THAT(message_for(bytes, folder), HasSubstr("checksum"));
  EXPECT_THAT(error_of([] {
                ShardBuilder(kSmall).add(std::vector<int32_t>{5, 1000}, 1);
              }),
              HasSubstr("document 0: token 1: expected an id < 1000, got 1000"));
}

void write_dataset(const std::filesystem::path& folder, const std::vector<std::vector<int32_t>>& documents,
                   int64_t shard_tokens) {
  DatasetWriter writer(folder, kSmall, shard_tokens);
  for (const auto& document : documents) writer.add(document, static_cast<int64_t>(2 * document.size()));
  writer.finish();
}

TEST(Dataset, IsOneStreamWhateverTheShardSize) {
  const TemporaryFolder folder;
  const auto documents = some_documents(60, 1000);
  std::vector<int32_t> all;
  for (const auto& document : documents) {
    all.insert(all.end(), document.begin(), document.end());
    all.push_back(kSmall.end_of_text);
  }
  for (const int64_t shard_tokens : {1, 100, 1 << 20}) {
    const auto path = folder / fmt::format("books-{}", shard_tokens);
    write_dataset(path, documents, shard_tokens);
    const TokenDataset dataset(path);
    dataset.verify();
    EXPECT_EQ(dataset.shards().size() == 60, shard_tokens == 1);
    EXPECT_EQ(dataset.shards().size() == 1, shard_tokens == 1 << 20);
    ASSERT_EQ(dataset.tokens(), static_cast<int64_t>(all.size()));
    EXPECT_EQ(dataset.documents(), 60);
    EXPECT_EQ(dataset.text_bytes(), 2 * (dataset.tokens() - 60));
    std::vector<int32_t> got(all.size());
    dataset.read(0, dataset.tokens(), got.data());
    EXPECT_EQ(got, all);
    for (int64_t begin = 0; begin + 50 < dataset.tokens(); begin += 37) {
      std::vector<int32_t> part(50);
      dataset.read(begin, begin + 50, part.data());
      EXPECT_TRUE(std::equal(part.begin(), part.end(), all.begin() + begin)) << begin;
    }
  }
}

TEST(Dataset, PrefixEndsWithADocument) {
  const TemporaryFolder folder;
  write_dataset(folder / "d", {{1, 2, 3}, {4}, {5, 6}}, 5);  // 4 + 2 + 3 tokens
  const TokenDataset dataset(folder / "d");
  const auto tokens = [&](int64_t most) { return dataset.prefix(most).tokens; };
  EXPECT_EQ(tokens(0), 9);
  EXPECT_EQ(tokens(1), 4);  // at least one document
  EXPECT_EQ(tokens(5), 4);
  EXPECT_EQ(tokens(6), 6);
  EXPECT_EQ(tokens(8), 6);
  EXPECT_EQ(tokens(9), 9);
  EXPECT_EQ(dataset.prefix(6).text_bytes, 8);
  EXPECT_EQ(dataset.prefix(6).documents, 2);
}

TEST(Dataset, IndexAndShardsMustAgree) {
  const TemporaryFolder folder;
  write_dataset(folder / "d", some_documents(20, 1000), 100);
  const std::string index = read_file(folder / "d" / "index.json");
  const auto with = [&](const std::string& from, const std::string& to) {
    std::string changed = index;
    const size_t at = changed.find(from);
    EXPECT_NE(at, changed.npos) << from;
    changed.replace(at, from.size(), to);
    write_file_atomically(folder / "d" / "index.json", changed);
    return error_of([&] { TokenDataset(folder / "d"); });
  };
  EXPECT_EQ(with("{", "{"), "");
  EXPECT_THAT(with("troupe.dataset/1", "troupe.dataset/2"), HasSubstr("format: expected troupe.dataset/1, got"));
  EXPECT_THAT(with("\"documents\": 20", "\"documents\": 21"),
              HasSubstr("documents: expected 21 as in index.json, got 20"));
  EXPECT_THAT(with("\"documents\": 20", "\"documents\": -1"), HasSubstr("documents: expected a count, got -1"));
  EXPECT_THAT(with("d-00000.tok", "d-00009.tok"), HasSubstr("d-00009.tok: expected a readable file"));
  EXPECT_THAT(with("d-00000.tok", "../d/d-00000.tok"),
              HasSubstr("shards[0].file: expected a name in the same folder"));
  EXPECT_THAT(with("d-00000.tok", "d-00001.tok"), HasSubstr("as in index.json, got"));
  EXPECT_THAT(with("\"shards\"", "\"shard\""), HasSubstr("shards: expected a value, got no such key"));
  EXPECT_THAT(error_of([&] { TokenDataset(folder / "e"); }), HasSubstr("expected a dataset folder, got nothing"));
}

TEST(Dataset, AppearsWholeOrNotAtAll) {
  const TemporaryFolder folder;
  {
    DatasetWriter writer(folder / "d", kSmall, 10);
    writer.add(std::vector<int32_t>{1, 2}, 3);
  }
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
  EXPECT_THAT(error_of([&] { DatasetWriter(folder / "d", kSmall, 10).finish(); }), HasSubstr("at least one document"));
  write_dataset(folder / "d", {{1}}, 10);
  EXPECT_THAT(error_of([&] { DatasetWriter(folder / "d", kSmall, 10); }, ErrorCode::kUsage),
              HasSubstr("expected a new or empty folder"));
}

}  // namespace
}  // namespace troupe
