// Text to shards: what is encoded decodes to the text, whatever the number of threads.
#include "data/shards/encode_text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <omp.h>

#include <fstream>

#include "base/rng.h"
#include "data/shards/dataset.h"
#include "data/tokenizer/bpe_trainer.h"
#include "error_of.h"
#include "io/atomic_file.h"
#include "temporary_folder.h"

namespace troupe {
namespace {

using test::error_of;
using test::TemporaryFolder;
using testing::HasSubstr;

std::vector<std::string> some_texts(int64_t count) {
  const std::vector<std::string> words = {"the", "cat", "sat", "on", "a", "mat", "<|endoftext|>", "\xC3\xA9t\xC3\xA9",
                                          "12"};
  Rng rng(1);
  std::vector<std::string> texts(static_cast<size_t>(count));
  for (std::string& text : texts) {
    text = "x";
    for (uint64_t n = rng.below(30); n > 0; --n) text += " " + words[rng.below(words.size())];
  }
  return texts;
}

Tokenizer small_tokenizer() {
  BpeTrainer trainer({.vocab_size = 300});
  for (const std::string& text : some_texts(100)) trainer.add(text);
  return trainer.finish();
}

std::filesystem::path jsonl(const std::filesystem::path& path, const std::vector<std::string>& texts) {
  std::ofstream file(path);
  for (const std::string& text : texts) file << "{\"text\": \"" << text << "\"}\n";
  return path;
}

TEST(EncodeText, DecodesToTheText) {
  const TemporaryFolder folder;
  const Tokenizer tokenizer = small_tokenizer();
  const auto texts = some_texts(500);
  const EncodeStats stats =
      encode_text({jsonl(folder / "a.jsonl", texts)}, tokenizer, folder / "books", {.text = {}, .shard_tokens = 1000});
  const TokenDataset dataset(folder / "books");
  dataset.verify();
  ASSERT_EQ(dataset.documents(), 500);
  EXPECT_EQ(stats.tokens, dataset.tokens());
  EXPECT_GT(dataset.shards().size(), 3u);
  EXPECT_EQ(dataset.vocabulary().size, tokenizer.vocab_size());
  EXPECT_EQ(dataset.vocabulary().tokenizer, checksum_of(Tokenizer::load(dataset.tokenizer_path().string())));
  size_t number = 0;
  for (const TokenShard& shard : dataset.shards()) {
    EXPECT_THAT(shard.path().filename().string(), testing::StartsWith("books-0000"));
    for (int64_t i = 0; i < shard.documents(); ++i, ++number) {
      std::vector<int32_t> ids(static_cast<size_t>(shard.document_end(i) - shard.document_begin(i)));
      shard.read(shard.document_begin(i), shard.document_end(i), ids.data());
      ASSERT_EQ(ids.back(), tokenizer.end_of_text());
      ids.pop_back();
      EXPECT_EQ(std::count(ids.begin(), ids.end(), tokenizer.end_of_text()), 0);  // in the text it is text
      EXPECT_EQ(tokenizer.decode(ids), texts[number]);
      EXPECT_EQ(shard.document_text_bytes(i), static_cast<int64_t>(texts[number].size()));
    }
  }
}

TEST(EncodeText, DoesNotDependOnThreads) {
  const TemporaryFolder folder;
  const Tokenizer tokenizer = small_tokenizer();
  const auto input = jsonl(folder / "a.jsonl", some_texts(3000));
  const int threads = omp_get_max_threads();
  for (const int n : {1, 2, 5}) {
    omp_set_num_threads(n);
    encode_text({input}, tokenizer, folder / std::to_string(n) / "d", {.text = {}, .shard_tokens = 5000});
  }
  omp_set_num_threads(threads);
  for (const auto& entry : std::filesystem::directory_iterator(folder / "1" / "d"))
    for (const char* n : {"2", "5"})
      EXPECT_EQ(read_file(entry.path()), read_file(folder / n / "d" / entry.path().filename())) << entry.path();
}

TEST(EncodeText, LeavesNothingBehindWhenTheTextIsDamaged) {
  const TemporaryFolder folder;
  const Tokenizer tokenizer = small_tokenizer();
  const auto input = jsonl(folder / "a.jsonl", {"fine", "\xFF", "fine"});
  EXPECT_THAT(error_of([&] { encode_text({input}, tokenizer, folder / "d"); }), HasSubstr("a.jsonl:2"));
  EXPECT_FALSE(std::filesystem::exists(folder / "d"));
  EncodeOptions skip;
  skip.text.on_bad = OnBad::kSkip;
  const EncodeStats stats = encode_text({input}, tokenizer, folder / "d", skip);
  EXPECT_EQ(stats.documents, 2);
  EXPECT_EQ(stats.text.total_skipped(), 1);
}

}  // namespace
}  // namespace troupe
