#include "data/text/archive.h"

#include <archive.h>
#include <archive_entry.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "base/error.h"
#include "base/rng.h"
#include "error_of.h"

namespace troupe {
namespace {

using test::error_of;
using testing::EndsWith;
using testing::HasSubstr;
using testing::StartsWith;

using Files = std::vector<std::pair<std::string, std::string>>;

// With a folder and a link as well, where the format has these.
std::string archive_of(const Files& files, const std::string& format, int filter) {
  std::string bytes(1 << 20, '\0');
  size_t used = 0;
  ::archive* const a = archive_write_new();
  EXPECT_EQ(archive_write_set_format_by_name(a, format.c_str()), ARCHIVE_OK);
  archive_write_add_filter(a, filter);
  archive_write_set_bytes_in_last_block(a, 1);
  EXPECT_EQ(archive_write_open_memory(a, bytes.data(), bytes.size(), &used), ARCHIVE_OK);
  const auto add = [&](const std::string& name, const std::string& text, mode_t type, const char* link) {
    archive_entry* const entry = archive_entry_new2(a);
    archive_entry_set_pathname(entry, name.c_str());
    archive_entry_set_filetype(entry, type);
    archive_entry_set_perm(entry, 0644);
    archive_entry_set_size(entry, static_cast<la_int64_t>(text.size()));
    if (link) archive_entry_set_symlink(entry, link);
    EXPECT_EQ(archive_write_header(a, entry), ARCHIVE_OK) << archive_error_string(a);
    EXPECT_EQ(archive_write_data(a, text.data(), text.size()), static_cast<la_ssize_t>(text.size()));
    archive_entry_free(entry);
  };
  const bool tar = format == "ustar" || format == "gnutar" || format == "pax";
  if (tar) add("folder/", "", AE_IFDIR, nullptr);
  for (const auto& [name, text] : files) add(name, text, AE_IFREG, nullptr);
  if (tar) add("link", "", AE_IFLNK, files[0].first.c_str());
  archive_write_close(a);
  archive_write_free(a);
  bytes.resize(used);
  return bytes;
}

Files read(const std::string& bytes) {
  Files files;
  for_each_member(*memory_source(bytes), [&](const std::string& path, ByteSource& member) {
    files.emplace_back(path, read_all(member, 1 << 20));
  });
  return files;
}

std::string noise(int words) {
  Rng rng(1);
  std::string text;
  for (int i = 0; i < words; ++i) text += fmt::format("{:x} ", rng.next_u32());
  return text;
}

TEST(Archive, EveryFormatUnderEveryFilterGivesItsFilesInOrder) {
  const Files files = {{"b.txt", "first"}, {"a.txt", noise(5000)}, {"empty", ""}};
  for (const char* format : {"ustar", "gnutar", "pax", "zip", "argnu", "arbsd"})
    for (const int filter : {ARCHIVE_FILTER_NONE, ARCHIVE_FILTER_GZIP, ARCHIVE_FILTER_BZIP2, ARCHIVE_FILTER_XZ,
                             ARCHIVE_FILTER_LZMA, ARCHIVE_FILTER_ZSTD})
      EXPECT_EQ(read(archive_of(files, format, filter)), files) << format << " " << filter;
}

TEST(Archive, NamesAreBytesWithoutWhatStandsForTheRoot) {
  const Files given = {{"./a/b", "1"}, {"/c", "2"}, {"Z\u00fcrich/\u65e5\u672c", "3"}, {"latin-\xfc", "4"}, {"..x/.y", "5"}};
  const Files expected = {{"a/b", "1"}, {"c", "2"}, {"Z\u00fcrich/\u65e5\u672c", "3"}, {"latin-\xfc", "4"}, {"..x/.y", "5"}};
  EXPECT_EQ(read(archive_of(given, "gnutar", ARCHIVE_FILTER_NONE)), expected);
  EXPECT_EQ(read(archive_of({given[2]}, "zip", ARCHIVE_FILTER_NONE)), (Files{expected[2]}));
}

TEST(Archive, WhatAVisitorLeavesIsPassedOver) {
  const std::string bytes = archive_of({{"a", noise(9000)}, {"b", "text"}}, "pax",
                                       ARCHIVE_FILTER_XZ);
  std::string text;
  for_each_member(*memory_source(bytes), [&](const std::string& path, ByteSource& member) {
    char some[10];
    EXPECT_GT(member.read(some, sizeof some), 0u);
    if (path == "b") {
      text.assign(some, 4);
      EXPECT_EQ(member.read(some, sizeof some), 0u);
      EXPECT_EQ(member.read(some, sizeof some), 0u) << "the end stays the end";
    }
  });
  EXPECT_EQ(text, "text");
}

TEST(Archive, AnArchiveInsideIsOneMoreSource) {
  const std::string inner = archive_of({{"x", "deep"}}, "ustar", ARCHIVE_FILTER_XZ);
  const std::string outer = archive_of({{"part.tar.xz", inner}, {"y", "flat"}}, "zip", ARCHIVE_FILTER_NONE);
  Files files;
  for_each_member(*memory_source(outer), [&](const std::string& path, ByteSource& member) {
    if (path == "y") return;
    for_each_member(member, [&](const std::string& deep, ByteSource& text) {
      files.emplace_back(deep, read_all(text, 100));
    });
  });
  EXPECT_EQ(files, (Files{{"x", "deep"}}));

  const std::string damaged = archive_of({{"part.tar.xz", inner.substr(0, inner.size() / 2)}},
                                         "ustar", ARCHIVE_FILTER_NONE);
  EXPECT_THAT(error_of([&] {
                for_each_member(*memory_source(damaged), [&](const std::string&, ByteSource& member) {
                  for_each_member(member, [](const std::string&, ByteSource& text) { read_all(text, 100); });
                });
              }),
              StartsWith("part.tar.xz: "));
}

TEST(Archive, AFlippedByteIsDamageOrChangesNothing) {
  const Files files = {{"a", noise(300)}, {"b", noise(200)}};
  for (const int filter : {ARCHIVE_FILTER_GZIP, ARCHIVE_FILTER_BZIP2, ARCHIVE_FILTER_XZ}) {
    const std::string whole = archive_of(files, "ustar", filter);
    int64_t errors = 0, flips = 0;
    for (size_t at = 0; at < whole.size();
         at += at + 64 < whole.size() ? 13 : 1) {  // every byte of the checks at the end
      std::string flipped = whole;
      flipped[at] = static_cast<char>(flipped[at] ^ 0x10);
      Files got;
      const std::string error = error_of([&] { got = read(flipped); }, ErrorCode::kData);
      ++flips, errors += !error.empty();
      if (error.empty()) {
        EXPECT_EQ(got, files) << filter << " " << at;
      } else {
        EXPECT_THAT(error, HasSubstr(" byte")) << filter << " " << at;
      }
    }
    EXPECT_GT(errors, flips / 2) << filter;
  }
}

TEST(Archive, CutAnywhereItIsDamageOrComplete) {
  const Files files = {{"a", noise(300)}, {"b", noise(200)}};
  for (const char* format : {"ustar", "zip", "argnu"})
    for (const int filter : {ARCHIVE_FILTER_NONE, ARCHIVE_FILTER_GZIP, ARCHIVE_FILTER_BZIP2, ARCHIVE_FILTER_XZ,
                             ARCHIVE_FILTER_ZSTD}) {
      const std::string whole = archive_of(files, format, filter);
      for (size_t size = 0; size < whole.size(); size += 41) {
        const std::string cut = whole.substr(0, size);
        Files got;
        const std::string error = error_of([&] { got = read(cut); }, ErrorCode::kData);
        if (error.empty() && filter != ARCHIVE_FILTER_NONE) {
          EXPECT_EQ(got, files) << format << " " << filter << " " << size;
        }
        for (const auto& file : got)  // nothing marks the end of a plain archive: fewer files, but whole ones
          EXPECT_TRUE(file == files[0] || file == files[1]) << format << " " << filter << " " << size;
      }
    }
}

TEST(Archive, SaysWhatItExpectedAndWhere) {
  const auto error = [](const std::string& bytes) { return error_of([&] { read(bytes); }, ErrorCode::kData); };
  EXPECT_THAT(error("no archive at all"), StartsWith("expected an archive (tar, zip or ar; gzip, bzip2, xz or zstd), got: "));
  EXPECT_THAT(error(""), StartsWith("expected an archive"));
  const std::string tar = archive_of({{"a", noise(2000)}, {"b", "x"}}, "ustar", ARCHIVE_FILTER_NONE);
  EXPECT_THAT(error(tar.substr(0, 4096)), StartsWith("a: expected an archive"));
  EXPECT_THAT(error_of([&] {
                for_each_member(*memory_source(tar), [](const std::string&, ByteSource& member) { read_all(member, 10); });
              }),
              testing::Eq("a: expected at most 10 bytes, got more"));
}

TEST(Archive, ErrorsOfTheSourceComeThrough) {
  class Failing final : public ByteSource {
   public:
    explicit Failing(std::string bytes) : bytes_(std::move(bytes)) {}
    size_t read(char* dst, size_t size) override {
      if (bytes_.empty()) fail(ErrorCode::kEnvironment, "disk on fire");
      const size_t got = bytes_.copy(dst, size);
      bytes_.erase(0, got);
      return got;
    }

   private:
    std::string bytes_;
  };
  const std::string tar = archive_of({{"a", noise(20000)}}, "ustar", ARCHIVE_FILTER_NONE);
  for (const size_t size : {size_t{0}, size_t{1000}, size_t{100'000}}) {
    Failing source(tar.substr(0, size));
    EXPECT_EQ(error_of([&] { for_each_member(source, [](const std::string&, ByteSource&) {}); },
                       ErrorCode::kEnvironment),
              "disk on fire")
        << size;
  }
}

}  // namespace
}  // namespace troupe
