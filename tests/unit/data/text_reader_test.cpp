// Readers of users' text: every input kind, and every kind of damage with file, line and field in the message.
#include <fmt/core.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include <filesystem>
#include <fstream>

#include "data/text/byte_source.h"
#include "data/text/reader.h"
#include "troupe/error.h"

namespace troupe {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
namespace fs = std::filesystem;

std::string zstd(const std::string& text) {
  std::string out(ZSTD_compressBound(text.size()), '\0');
  out.resize(ZSTD_compress(out.data(), out.size(), text.data(), text.size(), 1));
  return out;
}

class TextReader : public testing::Test {
 protected:
  TextReader() { fs::create_directories(folder_); }
  ~TextReader() override { fs::remove_all(folder_); }

  std::string write(const std::string& name, const std::string& bytes) {
    const fs::path path = folder_ / name;
    fs::create_directories(path.parent_path());
    std::ofstream(path, std::ios::binary) << bytes;
    return path.string();
  }
  std::vector<std::string> read(const std::vector<std::string>& inputs) {
    texts_.clear();
    documents_.clear();
    stats_ = for_each_document(inputs, options_, [&](Document&& document) {
      texts_.push_back(document.text);
      documents_.push_back(std::move(document));
    });
    return texts_;
  }
  std::string error_of(const std::string& input) {
    try {
      read({input});
    } catch (const Error& error) {
      code_ = error.code();
      return error.what();
    }
    return "no error";
  }

  fs::path folder_ = fs::temp_directory_path() / fmt::format("troupe-text-{}-{}", getpid(), counter_++);
  TextOptions options_;
  TextStats stats_;
  std::vector<std::string> texts_;
  std::vector<Document> documents_;
  ErrorCode code_ = ErrorCode::kNo;
  inline static int counter_ = 0;
};

TEST_F(TextReader, SplitsPlainTextAtBlankLines) {
  const auto path = write("a.txt", "\n\none\nmore\n \t\n\ntwo");
  EXPECT_THAT(read({path}), ElementsAre("one\nmore", "two"));
  EXPECT_EQ(documents_[0].line, 3);
  EXPECT_EQ(documents_[1].line, 7);
  EXPECT_EQ(documents_[1].source, path);
  EXPECT_EQ(stats_.bytes, 11);
  EXPECT_EQ(stats_.total_skipped(), 0);
}

TEST_F(TextReader, TakesAWholeFileAsOneDocument) {
  options_.split = Split::kFile;
  EXPECT_THAT(read({write("a.txt", "one\n\ntwo\n")}), ElementsAre("one\n\ntwo"));
  EXPECT_THAT(read({write("empty.txt", "")}), ElementsAre());
  EXPECT_THAT(read({write("blank.txt", " \n\n")}), ElementsAre());
  EXPECT_EQ(stats_.skip(SkipReason::kEmpty).count, 1);
}

TEST_F(TextReader, SaysThatItReadCrlfAndDroppedTheByteOrderMark) {
  EXPECT_THAT(read({write("a.txt", "\xEF\xBB\xBFone\r\nmore\r\n\r\ntwo\r\n")}), ElementsAre("one\nmore", "two"));
  EXPECT_EQ(stats_.crlf_files, 1);
  EXPECT_EQ(stats_.byte_order_mark_files, 1);
  EXPECT_THAT(stats_.report(), HasSubstr("CRLF line ends as LF in 1 file"));
  EXPECT_THAT(stats_.report(), HasSubstr("byte-order mark of 1 file"));
}

TEST_F(TextReader, ReadsJsonLinesWithAChosenFieldAndMetadata) {
  options_.field = "body.content";
  options_.meta_field = "meta.set";
  const auto path = write("a.jsonl",
                          "{\"body\": {\"content\": \"caf\\u00e9\\nx\"}, \"meta\": {\"set\": \"web\"}}\r\n"
                          "{\"body.content\": \"flat key\", \"meta\": {\"set\": \"b\"}}");
  EXPECT_THAT(read({path}), ElementsAre("caf\xC3\xA9\nx", "flat key"));
  EXPECT_EQ(documents_[0].meta, "web");
  EXPECT_EQ(documents_[1].meta, "b");
  EXPECT_EQ(documents_[1].line, 2);
}

TEST_F(TextReader, StopsAtDamageWithFileLineAndField) {
  struct Case {
    const char* line;
    const char* message;
  };
  const Case cases[] = {
      {"{\"text\": 3}", "a.jsonl:2: text: expected a string, got a number"},
      {"{\"text\": null}", "a.jsonl:2: text: expected a string, got null"},
      {"{\"txt\": \"x\"}", "a.jsonl:2: text: expected this field, got none (keys: txt; did you mean txt?)"},
      {"{}", "a.jsonl:2: text: expected this field, got none (the object is empty)"},
      {"{\"text\": \"x\"", "a.jsonl:2: expected a JSON object, got bad JSON"},
      {"[1]", "a.jsonl:2: expected a JSON object, got an array"},
      {"{\"text\": \"x\"} trailing", "a.jsonl:2: expected a JSON object, got bad JSON"},
      {"{\"text\": \"\xFF\"}", "a.jsonl:2: expected UTF-8, got byte 0xFF at byte 11 of the line"},
      {"{\"text\": \"x\", \"n\": 01}", "a.jsonl:2: expected a JSON object, got bad JSON"},
      {"{\"text\": \"x\", \"n\": nan}", "a.jsonl:2: expected a JSON object, got bad JSON"},
      {"{\"text\": NaN}", "a.jsonl:2: text: expected a string, got a number"},
      {"{\"text\": 123456789012345678901234567890}", "a.jsonl:2: text: expected a string, got a number"},
      {"{\"text\": \"x\", \"text\": \"y\"}", "a.jsonl:2: text: expected the key text once, got it twice"},
      {"{\"text\": \"x \\ud83d y\"}",
       "a.jsonl:2: text: expected Unicode text, got the lone surrogate \\ud83d at byte 13"},
      {"{\"text\": \"\\ud83d\\ud83d\\ude00\"}", "got the lone surrogate \\ud83d at byte 11"},
      {"{\"text\": \"\\\\\\uDE00\"}", "got the lone surrogate \\uDE00 at byte 13"},
      {"{\"te\\u0078t\": \"\\ud800\"}", "text: expected Unicode text, got the lone surrogate \\ud800"},
  };
  for (const Case& c : cases) {
    const auto path = write("a.jsonl", std::string("{\"text\": \"good\"}\n") + c.line + "\n{\"text\": \"last\"}\n");
    options_.on_bad = OnBad::kStop;
    EXPECT_THAT(error_of(path), HasSubstr(c.message));
    EXPECT_EQ(code_, ErrorCode::kData);
    options_.on_bad = OnBad::kSkip;
    EXPECT_THAT(read({path}), ElementsAre("good", "last")) << c.line;
    EXPECT_EQ(stats_.total_skipped(), 1);
    EXPECT_THAT(stats_.report(), HasSubstr(c.message));
  }
}

// Python's json writes all of these unless told otherwise; in fields that are not read they spoil nothing.
TEST_F(TextReader, ReadsLinesWithWhatPythonWritesBesideTheText) {
  for (const char* other : {"123456789012345678901234567890", "-99999999999999999999", "1e999", "NaN", "Infinity",
                            "-Infinity", "[NaN, {\"deep\": -Infinity}]", "\"\\ud83d\"", "\"\\\\ud83d \\udc00\"",
                            "{\"text\": \"\\udfff\"}", "{\"\\ud800\": 1}"}) {
    const auto path = write("a.jsonl", std::string("{\"other\": ") + other +
                                           ", \"text\": \"NaN 1e999 \\ud83d\\ude00 \\ufffd\", \"id\": 7}\n");
    EXPECT_EQ(error_of(path), "no error") << other;
    EXPECT_THAT(texts_, ElementsAre("NaN 1e999 \U0001F600 \uFFFD")) << other;
  }
}

TEST_F(TextReader, SaysThatItKeptNulBytes) {
  EXPECT_THAT(read({write("a.txt", std::string("x\n\na\0b\n", 7))}), ElementsAre("x", std::string("a\0b", 3)));
  EXPECT_THAT(stats_.report(), HasSubstr("kept NUL bytes in 1 document (is it text?), first: "));
  EXPECT_THAT(stats_.report(), HasSubstr("a.txt:3"));
}

TEST_F(TextReader, CountsEmptyDocumentsWithoutStopping) {
  EXPECT_THAT(read({write("a.jsonl", "{\"text\": \"\"}\n\n{\"text\": \" \\n\"}\n{\"text\": \"x\"}\n")}),
              ElementsAre("x"));
  EXPECT_EQ(stats_.skip(SkipReason::kEmpty).count, 3);
  EXPECT_THAT(stats_.report(), HasSubstr("skipped 3 empty, first: "));
}

TEST_F(TextReader, SpoilsOnlyTheDocumentWithInvalidUtf8) {
  const auto path = write("a.txt", "one\n\nbad\nmore \xC0\xAF\n still bad\n\nthree\n");
  EXPECT_THAT(error_of(path), HasSubstr("a.txt:3: expected UTF-8, got byte 0xC0 at byte 6 of line 4"));
  options_.on_bad = OnBad::kSkip;
  EXPECT_THAT(read({path}), ElementsAre("one", "three"));
  EXPECT_EQ(stats_.skip(SkipReason::kInvalidUtf8).count, 1);
  EXPECT_THAT(error_of(write("b.txt", std::string("\xFF\xFEh\0i\0", 6))), "no error");
  EXPECT_THAT(stats_.report(), HasSubstr("got UTF-16"));
}

TEST_F(TextReader, PassesOverALineOfAHundredMegabytes) {
  const std::string huge(100'000'000, 'a');
  const auto path = write("a.jsonl", "{\"text\": \"x\"}\n{\"text\": \"" + huge + "\"}\n{\"text\": \"y\"}\n");
  EXPECT_THAT(error_of(path), HasSubstr("a.jsonl:2: expected a line of at most 67108864 bytes, got 100000012"));
  options_.on_bad = OnBad::kSkip;
  EXPECT_THAT(read({path}), ElementsAre("x", "y"));
  EXPECT_EQ(stats_.skip(SkipReason::kTooLong).count, 1);
  EXPECT_THAT(read({write("a.txt", "x\n\n" + huge + "\nsame document\n\ny")}), ElementsAre("x", "y"));
  EXPECT_EQ(stats_.skip(SkipReason::kTooLong).count, 1);
}

TEST_F(TextReader, LimitsDocumentsAtTheExactByte) {
  options_.max_document_bytes = 10;
  options_.on_bad = OnBad::kSkip;
  EXPECT_THAT(read({write("a.txt", "0123456789\r\n\r\n01234567890\n\n01234\n5678\n\n01234\n56789")}),
              ElementsAre("0123456789", "01234\n5678"));
  EXPECT_EQ(stats_.skip(SkipReason::kTooLong).count, 2);
}

TEST_F(TextReader, ReadsSeveralZstdFramesAndGzipMembers) {
  const auto zst =
      write("a.jsonl.zst", zstd("{\"text\": \"one\"}\n{\"te") + zstd("xt\": \"two\"}\n") + zstd("{\"text\": \"3\"}"));
  EXPECT_THAT(read({zst}), ElementsAre("one", "two", "3"));
  EXPECT_THAT(read({write("a.txt.zst", zstd("one\n\ntwo"))}), ElementsAre("one", "two"));
  const std::string gz = (folder_ / "a.txt.gz").string();
  for (const char* part : {"one\n", "\ntwo"}) {
    gzFile file = gzopen(gz.c_str(), "ab");
    gzputs(file, part);
    gzclose(file);
  }
  EXPECT_THAT(read({gz}), ElementsAre("one", "two"));
}

TEST_F(TextReader, PassesOverZeroBytesBesideGzipMembersAndSkippableZstdFrames) {
  const std::string gz = (folder_ / "a.txt.gz").string();
  const std::string zeros(300'000, '\0');  // more than one chunk
  for (const char* part : {"one\n", "\ntwo"}) {
    gzFile file = gzopen(gz.c_str(), "ab");
    gzputs(file, part);
    gzclose(file);
    std::ofstream(gz, std::ios::binary | std::ios::app) << zeros;
  }
  EXPECT_THAT(read({gz}), ElementsAre("one", "two"));
  std::ofstream(gz, std::ios::binary | std::ios::app) << "junk";
  EXPECT_THAT(error_of(gz), HasSubstr("a.txt.gz:3: expected gzip data, got damage near compressed byte 600"));
  const std::string skippable("\x50\x2A\x4D\x18\x03\0\0\0abc", 11);
  EXPECT_THAT(read({write("a.txt.zst", skippable + zstd("one\n") + skippable + zstd("") + zstd("\ntwo") + skippable)}),
              ElementsAre("one", "two"));
  EXPECT_THAT(error_of(write("b.txt.zst", zstd("one") + skippable.substr(0, 9))), HasSubstr("(truncated)"));
  EXPECT_THAT(error_of(write("c.txt.zst", "")), HasSubstr("got the end of the file after 0 bytes (truncated)"));
  EXPECT_THAT(error_of(write("c.txt.gz", "")), HasSubstr("got the end of the file after 0 bytes (truncated)"));
}

// As `zstd --long=31` writes a stream of unknown length: the window is 2 GiB, whatever the text.
TEST_F(TextReader, ReadsZstdWindowsOfTwoGibibytes) {
  const auto frame = [](unsigned char window) {
    std::string bytes("\x28\xB5\x2F\xFD\x00", 5);  // magic number, descriptor
    bytes += static_cast<char>(window);
    const std::string text = "one\n\ntwo";
    const size_t block = text.size() << 3 | 1;  // raw, the last one
    for (int i = 0; i < 3; ++i) bytes += static_cast<char>(block >> 8 * i);
    return bytes + text;
  };
  EXPECT_THAT(read({write("a.txt.zst", frame((31 - 10) << 3))}), ElementsAre("one", "two"));
  EXPECT_THAT(error_of(write("b.txt.zst", frame((32 - 10) << 3))),
              HasSubstr("b.txt.zst:1: expected a zstd window of at most 2048 MiB, got a larger one"));
}

TEST_F(TextReader, KeepsWhatPrecedesATruncatedFrame) {
  const std::string whole = zstd("{\"text\": \"one\"}\n{\"text\": \"two\"}\n");
  std::string noise;
  for (int i = 0; i < 200000; ++i) noise += static_cast<char>('a' + (i * 7919 + i / 26) % 26);
  const std::string second = zstd("{\"text\": \"" + noise + "\"}\n");
  const auto path = write("a.jsonl.zst", whole + second.substr(0, second.size() - 5));
  EXPECT_THAT(error_of(path), HasSubstr("a.jsonl.zst:3: expected the rest of a zstd frame, got the end of the file"));
  options_.on_bad = OnBad::kSkip;
  EXPECT_THAT(read({path}), ElementsAre("one", "two"));
  EXPECT_EQ(stats_.skip(SkipReason::kDamagedFile).count, 1);
  EXPECT_THAT(read({write("b.txt.zst", "not zstd at all")}), ElementsAre());
  EXPECT_THAT(stats_.report(), HasSubstr("b.txt.zst:1: expected a zstd frame, got damaged data"));
}

TEST_F(TextReader, NeverCrashesOnTruncatedOrMutatedStreams) {
  options_.on_bad = OnBad::kSkip;
  const std::string json = "{\"text\": \"one \\u00e9\"}\n{\"text\": \"two\", \"n\": [1, {\"a\": null}]}\n";
  const std::string packed = zstd(json);
  int64_t delivered = 0, skipped = 0;
  const auto run = [&](const std::string& bytes, bool compressed) {
    auto source = memory_source(bytes);
    if (compressed) source = zstd_source(std::move(source));
    for (const TextFormat format : {TextFormat::kJsonl, TextFormat::kText}) {
      TextStats stats;
      auto again = compressed ? zstd_source(memory_source(bytes)) : memory_source(bytes);
      read_documents(
          *again, "memory", format, options_, [](Document&&) {}, stats);
      delivered += stats.documents;
      skipped += stats.total_skipped();
    }
  };
  for (size_t cut = 0; cut <= json.size(); ++cut) run(json.substr(0, cut), false);
  for (size_t cut = 0; cut <= packed.size(); ++cut) run(packed.substr(0, cut), true);
  for (size_t i = 0; i < json.size() * 255; ++i) {
    std::string bytes = json;
    bytes[i / 255] = static_cast<char>(bytes[i / 255] + 1 + i % 255);
    run(bytes, false);
  }
  for (size_t i = 0; i < packed.size() * 255; ++i) {
    std::string bytes = packed;
    bytes[i / 255] = static_cast<char>(bytes[i / 255] + 1 + i % 255);
    run(bytes, true);
  }
  EXPECT_GT(delivered, 1000);
  EXPECT_GT(skipped, 1000);
}

TEST_F(TextReader, WalksFoldersInOrderAndCountsOtherFiles) {
  write("in/b.txt", "b");
  write("in/a/z.jsonl", "{\"text\": \"z\"}");
  write("in/readme.md", "no");
  EXPECT_THAT(read({(folder_ / "in").string()}), ElementsAre("z", "b"));
  EXPECT_EQ(stats_.ignored_files.count, 1);
  EXPECT_THAT(stats_.report(),
              HasSubstr("ignored 1 file of other kinds, first: " + (folder_ / "in/readme.md").string()));
}

TEST_F(TextReader, RefusesAWholeCorpus) {
  write("c/manifest.json", "{}");
  write("c/train/a.jsonl", "{\"text\": \"seen\"}");
  EXPECT_THAT(read({(folder_ / "c").string()}), ElementsAre("seen"));
  write("c/heldout/b.jsonl", "{\"text\": \"unseen\"}");
  EXPECT_THROW(read({(folder_ / "c").string()}), Error);
  EXPECT_THAT(read({(folder_ / "c/heldout").string()}), ElementsAre("unseen"));
}

TEST_F(TextReader, FollowsLinksAndWalksEachFolderOnce) {
  write("elsewhere/e.txt", "elsewhere");
  write("elsewhere/deep/d.txt", "deep");
  write("in/a.txt", "a");
  write("in/sub/s.txt", "sub");
  write("in/.hidden.txt", "hidden");
  const fs::path in = folder_ / "in";
  fs::create_directory_symlink("../elsewhere", in / "link");
  fs::create_directory_symlink("..", in / "sub/up");            // a loop
  fs::create_directory_symlink("../in/sub", in / "link/back");  // through two links
  fs::create_symlink("nothing", in / "gone.txt");
  fs::create_symlink("itself", in / "itself");
  EXPECT_THAT(read({in.string()}), ElementsAre("hidden", "a", "deep", "elsewhere", "sub"));
  EXPECT_EQ(documents_[2].source, (in / "link/deep/d.txt").string());
  EXPECT_EQ(stats_.dangling_links.count, 2);
  EXPECT_THAT(stats_.report(), HasSubstr("passed over 2 links to nothing, first: "));
  EXPECT_THAT(stats_.report(), HasSubstr("-> "));
  EXPECT_EQ(stats_.repeated_links.count, 2);
  EXPECT_THAT(stats_.report(),
              HasSubstr("passed over 2 links to what is read anyway, first: " + (in / "link/back").string()));
  EXPECT_THAT(error_of((in / "gone.txt").string()),
              HasSubstr("gone.txt: expected a file or a folder, got a link to nothing"));
  EXPECT_THAT(error_of((in / "itself").string()),
              HasSubstr("itself: expected a file or a folder, got a link to itself"));
}

TEST_F(TextReader, ReadsAFileBehindLinksOnce) {
  write("in/a.txt", "a");
  write("elsewhere/b", "b");
  const fs::path in = folder_ / "in";
  fs::create_directory(in / "sub");
  fs::create_symlink("../a.txt", in / "sub/again.txt");
  fs::create_symlink("../elsewhere/b", in / "b.txt");
  fs::create_symlink("b.txt", in / "c.txt");
  EXPECT_THAT(read({in.string()}), ElementsAre("a", "b"));
  EXPECT_EQ(stats_.repeated_links.count, 2);
  EXPECT_EQ(stats_.repeated_files.count, 0);
}

TEST_F(TextReader, SaysWhatWasGivenTwice) {
  write("in/a.txt", "a");
  const std::string in = (folder_ / "in").string();
  EXPECT_THAT(read({in, in + "/../in/a.txt"}), ElementsAre("a", "a"));
  EXPECT_THAT(stats_.report(), HasSubstr("read again 1 file given more than once, first: " + in + "/../in/a.txt"));
}

TEST_F(TextReader, PlainTextHasNoFields) {
  write("in/a.txt", "a");
  write("in/b.jsonl", "{\"text\": \"b\", \"k\": \"v\"}");
  options_.meta_field = "k";
  EXPECT_THAT(error_of((folder_ / "in").string()),
              HasSubstr("in/a.txt: expected JSON lines, which have a field k, got plain text"));
}

TEST_F(TextReader, CountsWhatCannotBeOpened) {
  options_.on_bad = OnBad::kSkip;
  write("in/a.txt", "a");
  const fs::path second = write("in/b.txt", "b");
  const auto read_while_removing = [&] {
    return for_each_document({(folder_ / "in").string()}, options_, [&](Document&&) { fs::remove(second); });
  };
  const TextStats stats = read_while_removing();
  EXPECT_EQ(stats.documents, 1);
  EXPECT_EQ(stats.skip(SkipReason::kUnreadable).count, 1);
  EXPECT_THAT(stats.report(), HasSubstr("skipped 1 unreadable, first: " + second.string() + ": expected a readable file"));
  options_.on_bad = OnBad::kStop;
  write("in/b.txt", "b");
  EXPECT_THROW(read_while_removing(), Error);
}

TEST_F(TextReader, NamesTheProgramForOtherCompressions) {
  EXPECT_THAT(error_of(write("a.jsonl.bz2", "x")), HasSubstr("got .bz2, which is not read (bzip2 -dc "));
  EXPECT_THAT(error_of(write("a.txt.xz", "x")), HasSubstr("got .xz, which is not read (xz -dc "));
  EXPECT_THAT(error_of(write("a.txt.gz.zst", "x")), HasSubstr("expected .txt, .jsonl"));
}

TEST_F(TextReader, RefusesWhatIsNotText) {
  EXPECT_THAT(error_of((folder_ / "none.txt").string()), HasSubstr("none.txt: expected a file or a folder"));
  EXPECT_THAT(error_of(write("a.pdf", "x")), HasSubstr("a.pdf: expected .txt, .jsonl"));
  EXPECT_EQ(code_, ErrorCode::kUsage);
  fs::create_directories(folder_ / "none");
  EXPECT_THAT(error_of((folder_ / "none").string()), HasSubstr("expected .txt, .jsonl or .ndjson"));
}

TEST_F(TextReader, LetsErrorsOfTheSinkPass) {
  options_.on_bad = OnBad::kSkip;
  const auto path = write("a.txt", "x");
  EXPECT_THROW(for_each_document({path}, options_, [](Document&&) { throw Error(ErrorCode::kData, "full"); }), Error);
}

}  // namespace
}  // namespace troupe
