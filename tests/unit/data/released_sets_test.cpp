// What is read of the paper's sets: wiki markup, web archives, compressed streams.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "data/corpus/released/sets.h"
#include "data/corpus/released/warc.h"
#include "data/corpus/released/wikitext.h"
#include "data/text/archive.h"
#include "error_of.h"

namespace troupe::corpus {
namespace {

using test::error_of;
using testing::ElementsAre;
using testing::HasSubstr;

TEST(Wikitext, BecomesProse) {
  EXPECT_EQ(
      wikitext_to_text("{{Infobox\n| a = {{nested|x}}\n}}'''''Anna''' Karenina'' ({{lang|ru|x}}; born) is<!-- no --> a "
                       "[[novel]] by [[Leo Tolstoy|Tolstoy]].<ref name=\"a\">[http://x y]</ref><ref name=\"b\" />\n"
                       "[[File:a.jpg|thumb|A [[picture]] here]]\n== Plot ==\n* [http://x A page] &amp; more\n"
                       "{| class=\"t\"\n|-\n| cell\n|}\nEnd<br/>of it.\n[[Category:Novels]] [[de:Anna]]\n"),
      "Anna Karenina (born) is a novel by Tolstoy.\n\nPlot\nA page & more\n\nEnd\nof it.\n\n");
}

TEST(Wikitext, KeepsWhatIsNeverClosed) {
  for (const char* text : {"{{open", "[[open", "<ref>open", "{|", "]]", "}}", "<!-- open", "[http://x"})
    EXPECT_LE(wikitext_to_text(text).size(), std::string(text).size() + 1) << text;
  EXPECT_EQ(wikitext_to_text("a {{b c"), "a {{b c\n");
}

TEST(Warc, KeepsTheProseOfPages) {
  EXPECT_EQ(prose_of_page("Home\nBy A Writer\nThis is a sentence of more than eight words.\nFollow us on all of these "
                          "and more sites now\n\u201cThis one is quoted and has eight words, too.\u201d\n"),
            "This is a sentence of more than eight words.\n\u201cThis one is quoted and has eight words, too.\u201d\n");
}

TEST(Warc, NamesTheRecord) {
  const auto error = [](std::string_view bytes) {
    const auto source = memory_source(bytes);
    return error_of([&] { read_warc(*source, [](const std::string&, const std::string&) {}); });
  };
  EXPECT_EQ(error(""), "");
  EXPECT_EQ(error("WARC/1.0\r\nContent-Length: 2\r\n\r\nab\r\n\r\n"), "");
  EXPECT_EQ(error("WARC/1.0\nContent-Length: 2\n\nab\nHTTP/1.1 200\n"),
            "record 2: expected WARC/ and a version, got \"HTTP/1.1 200\"");
  EXPECT_EQ(error("WARC/1.0\r\nWARC-Type: conversion\r\nContent-Length: 9\r\n\r\nab"),
            "record 1: expected 9 bytes, got the end after 2");
  EXPECT_THAT(error("WARC/1.0\r\n\r\n"), HasSubstr("record 1: Content-Length: expected a number"));
}

TEST(DecompressedSource, GivesBytesThatAreNotCompressedAsTheyAre) {
  const auto plain = [](std::string_view bytes) {
    const auto source = memory_source(bytes);
    return read_all(*decompressed_source(*source), 1 << 20);
  };
  EXPECT_EQ(plain(""), "");
  EXPECT_EQ(plain("text\n"), "text\n");
  EXPECT_EQ(plain(std::string(300'000, 'x')), std::string(300'000, 'x'));
}

TEST(ReleasedSets, HaveThePapersSizes) {
  EXPECT_EQ(released_gigabytes(), 453);
  std::vector<std::string> names;
  for (const ReleasedSet& set : released_sets()) names.emplace_back(set.domain);
  EXPECT_THAT(names, ElementsAre("bookcorpus", "wikipedia", "cc_news", "openwebtext", "cc_stories", "cc100"));
}

}  // namespace
}  // namespace troupe::corpus
