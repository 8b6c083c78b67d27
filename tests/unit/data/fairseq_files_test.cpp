#include <gtest/gtest.h>

#include <cstring>
#include <string>

#include "base/rng.h"
#include "data/fairseq/dictionary.h"
#include "data/fairseq/indexed_dataset.h"
#include "error_of.h"
#include "fairseq_lines.h"

namespace troupe {
namespace {

using Bytes = std::vector<uint8_t>;

template <class T>
void append(Bytes& bytes, T value) {
  const size_t at = bytes.size();
  bytes.resize(at + sizeof(T));
  std::memcpy(bytes.data() + at, &value, sizeof(T));
}

// Two lines, 5 6 2 and 2, as u16.
Bytes index_of(const std::vector<int32_t>& lengths, const std::vector<int64_t>& offsets) {
  Bytes idx = {'M', 'M', 'I', 'D', 'I', 'D', 'X', 0, 0};
  append<uint64_t>(idx, 1);
  append<uint8_t>(idx, 8);
  append<uint64_t>(idx, lengths.size());
  for (const int32_t length : lengths) append(idx, length);
  for (const int64_t offset : offsets) append(idx, offset);
  return idx;
}
const Bytes kBin = {5, 0, 6, 0, 2, 0, 2, 0};

FairseqLines parse(const Bytes& idx, const Bytes& bin = kBin) {
  return parse_fairseq_lines(idx, "v.idx", bin, "v.bin");
}
std::string error(const Bytes& idx, const Bytes& bin = kBin) {
  return test::error_of([&] { parse(idx, bin); });
}

TEST(FairseqLines, ReadsIdsAndLineStarts) {
  const FairseqLines lines = parse(index_of({3, 1}, {0, 6}));
  EXPECT_EQ(lines.ids, (std::vector<int32_t>{5, 6, 2, 2}));
  EXPECT_EQ(lines.begin, (std::vector<int64_t>{0, 3, 4}));
}

TEST(FairseqLines, NamesWhatIsWrong) {
  EXPECT_EQ(error({'M', 'M'}),
            "v.idx: byte 0: expected the magic MMIDIDX and a header of 26 bytes, got 2 bytes of another kind");
  Bytes idx = index_of({3, 1}, {0, 6});
  idx[9] = 2;
  EXPECT_EQ(error(idx), "v.idx: byte 9: version: expected 1, got 2");
  idx = index_of({3, 1}, {0, 6});
  idx[17] = 7;
  EXPECT_EQ(error(idx), "v.idx: byte 17: dtype: expected 1 (u8), 2 (i8), 3 (i16), 4 (i32), 5 (i64) or 8 (u16), got 7");
  EXPECT_EQ(error(index_of({3, 2}, {0, 6})),
            "v.idx: line 1: expected ids within the 8 bytes of v.bin, got 2 ids from byte 6");
  EXPECT_EQ(error(index_of({-1, 1}, {0, 6})),
            "v.idx: line 0: expected ids within the 8 bytes of v.bin, got -1 ids from byte 0");
  idx = index_of({3, 1}, {0, 6});
  idx.pop_back();
  EXPECT_EQ(error(idx), "v.idx: lines: expected 24 bytes after the header for 2 lines, got 23");
  idx = index_of({1}, {0});
  idx[17] = 2;
  EXPECT_EQ(error(idx, {0xff}), "v.bin: byte 0: expected an id in [0, 2^31), got -1");
}

TEST(FairseqLines, MutatedFilesGiveLinesOrOneError) {
  Rng rng(5);
  for (int round = 0; round < 3000; ++round) {
    Bytes idx = index_of({3, 1}, {0, 6}), bin = kBin;
    for (uint64_t i = rng.below(4) + 1; i-- > 0;) idx[rng.below(idx.size())] = static_cast<uint8_t>(rng.below(256));
    if (rng.below(4) == 0) idx.resize(rng.below(idx.size()));
    if (rng.below(4) == 0) bin.resize(rng.below(bin.size()));
    try {
      EXPECT_LE(parse(idx, bin).ids.size(), bin.size());
    } catch (const Error& failure) {
      EXPECT_EQ(failure.code(), ErrorCode::kData);
    }
  }
}

TEST(FairseqDictionary, NumbersSymbolsFromFour) {
  const FairseqDictionary dictionary =
      FairseqDictionary::parse("13 850\n a b 3\n262 800 #fairseq:overwrite\n", "dict.txt");
  EXPECT_EQ(dictionary.id("13"), 4);
  EXPECT_EQ(dictionary.id(" a b"), 5);
  EXPECT_EQ(dictionary.id("262"), 6);
  EXPECT_EQ(dictionary.id("</s>"), 2);
  EXPECT_EQ(dictionary.id("absent"), 3);
  EXPECT_EQ(dictionary.size(), 7);
  EXPECT_EQ(test::encode_line(dictionary, "  262\t13 x "), (std::vector<int32_t>{6, 4, 3, 2}));
  EXPECT_EQ(test::encode_line(dictionary, ""), (std::vector<int32_t>{2}));
}

TEST(FairseqDictionary, NamesTheLineThatIsWrong) {
  const auto error = [](const char* text) {
    return test::error_of([&] { FairseqDictionary::parse(text, "dict.txt"); });
  };
  EXPECT_EQ(error("13 850\n262\n"), "dict.txt:2: expected `SYMBOL COUNT`, got 262");
  EXPECT_EQ(error("13 many\n"), "dict.txt:1: expected `SYMBOL COUNT`, got 13 many");
  EXPECT_EQ(error("13 1\n\n"), "dict.txt:2: expected `SYMBOL COUNT`, got ");
  EXPECT_EQ(error("13 850\r\na b 7\nmadeupword0000 0"), "");
  EXPECT_EQ(error(""), "");
  EXPECT_EQ(error("13 850\n13 2\n"), "dict.txt:2: expected every symbol once, got 13 again");
}

}  // namespace
}  // namespace troupe
