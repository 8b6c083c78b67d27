// Every parser of the corpus on small inputs of the same form, on damage, and on mutated bytes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <zlib.h>

#include "base/error.h"
#include "base/process.h"
#include "data/corpus/parsers/arff.h"
#include "data/corpus/parsers/dictd.h"
#include "data/corpus/parsers/html.h"
#include "data/corpus/parsers/man.h"
#include "data/corpus/parsers/parser.h"
#include "data/corpus/parsers/r_data.h"
#include "data/corpus/parsers/sections.h"

namespace troupe::corpus {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

template <class Body>
std::string error_of(const Body& body) {
  try {
    body();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kData);
    return error.what();
  }
  return "no error";
}

// Calls body with every truncation of `bytes` and with many single changed bytes; only Error(kData) may come out.
template <class Body>
void expect_survives_damage(const std::string& bytes, const Body& body) {
  const auto run = [&](const std::string& damaged) {
    try {
      body(damaged);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kData) << error.what();
    }
  };
  for (size_t cut = 0; cut <= bytes.size(); ++cut) run(bytes.substr(0, cut));
  for (size_t i = 0; i < bytes.size(); ++i)
    for (const int change : {1, 0x20, 0x7F, 0x80, 0xFF}) {
      std::string damaged = bytes;
      damaged[i] = static_cast<char>(damaged[i] ^ change);
      run(damaged);
    }
}

class Collect {
 public:
  operator Emit() {
    return [this](std::string text) { texts.push_back(std::move(text)); };
  }
  std::vector<std::string> texts;
};

std::string u32(uint32_t value) {
  return {static_cast<char>(value >> 24), static_cast<char>(value >> 16), static_cast<char>(value >> 8),
          static_cast<char>(value)};
}

std::string xdr(const std::vector<std::string>& lines, uint32_t version = 3) {
  std::string out = "X\n" + u32(version) + u32(0x40201) + u32(0x30500);
  if (version == 3) out += u32(5) + "UTF-8";
  out += u32(16) + u32(static_cast<uint32_t>(lines.size()));
  for (const std::string& line : lines)
    out += u32(0x40009) + (line == "NA" ? u32(UINT32_MAX) : u32(static_cast<uint32_t>(line.size())) + line);
  return out;
}

std::string database(const std::vector<std::string>& objects) {
  std::string out;
  for (const std::string& object : objects) {
    uLongf size = compressBound(static_cast<uLong>(object.size()));
    std::string packed(size, '\0');
    compress(reinterpret_cast<Bytef*>(packed.data()), &size, reinterpret_cast<const Bytef*>(object.data()),
             static_cast<uLong>(object.size()));
    packed.resize(size);
    out += u32(static_cast<uint32_t>(object.size())) + packed;
  }
  return out;
}

TEST(RData, ReadsCharacterVectorsOfBothVersions) {
  for (const uint32_t version : {2u, 3u})
    EXPECT_THAT(read_r_strings(xdr({"one", "", "NA", "two"}, version)), ElementsAre("one", "", "", "two"));
}

TEST(RData, SaysWhereTheStreamIsDamaged) {
  const std::string good = xdr({"one"});
  EXPECT_THAT(error_of([&] { read_r_strings(good.substr(0, good.size() - 1)); }),
              HasSubstr("byte 39: expected a string (3 bytes)"));
  EXPECT_THAT(error_of([] { read_r_strings("A\n"); }), HasSubstr("byte 0: expected an R object in XDR form"));
  EXPECT_THAT(error_of([] { read_r_strings("X\n" + u32(9) + u32(0) + u32(0)); }), HasSubstr("version 2 or 3, got 9"));
  EXPECT_THAT(error_of([] { read_r_strings("X\n" + u32(2) + u32(0) + u32(0) + u32(13)); }), HasSubstr("got type 13"));
  EXPECT_THAT(error_of([] { read_r_database(u32(100) + "not zlib"); }),
              HasSubstr("byte 4: expected 100 bytes of zlib data"));
  EXPECT_THAT(error_of([] { read_r_database(u32(UINT32_MAX)); }), HasSubstr("byte 0: expected an object of at most"));
}

TEST(RData, SplitsNovelsAtChapters) {
  PackageFile file{
      "x.rdb",
      database({xdr({"TITLE", "", "CHAPTER I", "one", "", "CHAPTER II", "two"}), xdr({"Chapter 1", "three"})}),
      {}};
  Collect out;
  find_parser("r-chapters")(file, out);
  EXPECT_THAT(out.texts, ElementsAre("TITLE\n\n", "CHAPTER I\none\n\n", "CHAPTER II\ntwo\n", "Chapter 1\nthree\n"));
}

TEST(RData, SurvivesDamage) {
  expect_survives_damage(xdr({"one", "two"}), [](const std::string& bytes) { read_r_strings(bytes); });
  expect_survives_damage(database({xdr({"one", "two"})}), [](const std::string& bytes) { read_r_database(bytes); });
}

TEST(Dictd, ReadsEveryEntryOnce) {
  const std::string text = "0123about{x} me456A%%%B\n  words{link}";
  // Offsets and lengths in base 64: A is 0, E is 4, P is 15, S is 18; the entry of the dictionary itself is left out.
  const std::string index = "00-database-info\tA\tE\nb\tS\tT\na\tE\tL\nalias\tE\tL\tA\n";
  Collect out;
  parse_dictd(index, text, out);
  EXPECT_THAT(out.texts, ElementsAre("aboutx me", "A; B\n  wordslink"));
}

TEST(Dictd, SaysWhichLineIsDamaged) {
  const auto parse = [](const std::string& index) { parse_dictd(index, "text", [](std::string) {}); };
  EXPECT_THAT(error_of([&] { parse("a\tA\tB\nb\n"); }), HasSubstr("line 2: expected word TAB offset TAB length"));
  EXPECT_THAT(error_of([&] { parse("a\t!\tB\n"); }), HasSubstr("line 1: expected offset and length in base 64"));
  EXPECT_THAT(error_of([&] { parse("a\tB\tE\n"); }),
              HasSubstr("line 1: expected an entry inside the 4 bytes of text, got offset 1 and length 4"));
  EXPECT_THAT(error_of([&] { parse("a\t//////////\tE\n"); }), HasSubstr("line 1: expected offset"));
  expect_survives_damage("a\tA\tB\nb\tB\tC\n", parse);
}

TEST(Arff, UnescapesTheFirstValueOfEachRow) {
  const std::string bytes =
      "% comment\n@relation 'x'\n@attribute Text string\n@DATA\n\n'it\\'s\\n\\ta \\\\ b',0\n% no\n\"two\",1\n";
  Collect out;
  parse_arff(bytes, out);
  EXPECT_THAT(out.texts, ElementsAre("it's\n\ta \\ b", "two"));
  expect_survives_damage(bytes, [](const std::string& damaged) { parse_arff(damaged, [](std::string) {}); });
}

TEST(Arff, SaysWhichLineIsDamaged) {
  const auto parse = [](const std::string& bytes) { parse_arff(bytes, [](std::string) {}); };
  EXPECT_THAT(error_of([&] { parse("@relation x\n"); }), HasSubstr("expected @data"));
  EXPECT_THAT(error_of([&] { parse("@data\n3,0\n"); }),
              HasSubstr("line 2: expected a row that begins with a quoted string"));
  EXPECT_THAT(error_of([&] { parse("@data\n'open\n"); }), HasSubstr("line 2: expected a closing '"));
  EXPECT_THAT(error_of([&] { parse("@data\n'open\\"); }), HasSubstr("line 2: expected a closing '"));
}

TEST(Reuters, LosesItsMarkup) {
  Collect out;
  find_parser("reuters")({"x.arff", "@data\n'A &lt;B> &amp; C\\n&#3;',0\n", {}}, out);
  EXPECT_THAT(out.texts, ElementsAre("A <B> & C\n"));
}

TEST(Sections, SplitRecordsAndDropComments) {
  Collect out;
  split_records("%%%%\n# note\nname\n\ntext\n%%%%\n%%%%\nlast", "%%%%", '#', out);
  EXPECT_THAT(out.texts, ElementsAre("name\n\ntext\n", "last\n"));
  Collect quotes;
  split_records("one\n\t\t-- me\n%\n#two\n", "%", '\0', quotes);
  EXPECT_THAT(quotes.texts, ElementsAre("one\n\t\t-- me\n", "#two\n"));
}

TEST(Sections, SplitReleaseNotesAtUnderlinedVersions) {
  Collect out;
  split_at_headings("Name 1.2 (2020)\n-----\nHighlights\n----\nx\n\nName 1.1\n=====\ny\n", is_release_heading, out);
  EXPECT_THAT(out.texts, ElementsAre("Name 1.2 (2020)\n-----\nHighlights\n----\nx\n\n", "Name 1.1\n=====\ny\n"));
}

TEST(Sections, SplitMarkdownAtNumberedHeadings) {
  Collect out;
  split_at_headings("Intro\n## A.1.2 Title\nx\n# Other\n## B.10 Next\ny\n", is_numbered_heading, out);
  EXPECT_THAT(out.texts, ElementsAre("Intro\n", "## A.1.2 Title\nx\n# Other\n", "## B.10 Next\ny\n"));
}

TEST(Markdown, BecomesProse) {
  EXPECT_EQ(markdown_to_text("## A **bold** _and **mixed** _ word, see [the\npage](x.md#y).\n\n* * *\n\n> quoted\n>\n  "
                             "* item a_b_c 2 * 3\n"),
            "A bold and mixed  word, see the\npage.\n\n\n\nquoted\n\n  * item a_b_c 2 * 3\n");
  EXPECT_EQ(markdown_to_text("[open [a](b) \\*"), "[open a *\n");
}

TEST(Html, KeepsTheTextOfTheBodyWithoutNavigation) {
  EXPECT_EQ(
      html_to_text(
          "<html><head><title>T</title><style>s</style></head><body><nav>menu</nav><div class=\"x navheader\">up</div>"
          "<h1>Title</h1><p>One <b>bold</b>\n word&eacute;</p><ul><li>a</li><li>b</li></ul><pre>x\n  y</pre>"
          "<table><tr><td>1</td><td>2</td></tr></table><script>var x;</script><p "
          "class=\"related\">see</p></body></html>"),
      "Title\n\nOne bold wordé\n\na\nb\n\nx\n  y\n\n1 2\n\n");
  EXPECT_EQ(html_to_text(""), "");
  EXPECT_EQ(html_to_text("<p>caf\xC3\xA9"), "café\n\n");
  expect_survives_damage("<html><body><p class='a b'>x<pre>y</body>&amp;&#99;",
                         [](const std::string& bytes) { html_to_text(bytes); });
}

class ManPage : public testing::Test {
 protected:
  void SetUp() override {
    if (run_program({"mandoc", "-T", "utf8"}).status == 127) GTEST_SKIP() << "mandoc is missing";
  }
};

TEST_F(ManPage, BecomesWhatAReaderSees) {
  EXPECT_EQ(man_page_to_text(".\\\" comment\n.TH page 7 2020 system\n.SH NAME\npage \\- does\n.BR open (2)\nand\n.I more "
                             ".\n.PP\nNext \\fBbold\\fP\n"
                             "\\[bu] caf\\['e] \\(em a\\\\b \\&.x \\s-1S\\s0 \\*(lqq\\*(rq a\\ b \\\" end\n"),
            "page(7)\n\nNAME\n\npage - does open(2) and more .\n\nNext bold • café — a\\b .x S “q” a b\n\n");
}

TEST_F(ManPage, KeepsTagsDisplaysAndTables) {
  EXPECT_EQ(man_page_to_text(".TH t 1\n.TP\n.B \\-\\-long\\-tag\ntext\nmore\n.IP \\(bu 3\nitem\n.IP (1)\none\n.PP\n.nf\na\n"
                             "\n  b\n\tc\n.fi\n.TS\ntab(x);\nl l\nl l.\nAxT{\nlong\ncell\nT}\n_\nBxC\n.TE\nend\n"),
            "t(1)\n\n--long-tag\ntext more\n\n• item\n\n(1) one\n\na\n \n  b\n\tc\n\nA long cell\nB C\n\nend\n");
}

TEST_F(ManPage, MayBeMdocOrLatin1) {
  EXPECT_EQ(man_page_to_text(".Dd May 1, 2020\n.Dt X 8\n.Os\n.Sh NAME\n.Nm x\n.Nd caf\xe9\n"),
            "X(8)\n\nNAME\n\nx — café\n\n");
}

TEST_F(ManPage, IsEmptyIfItOnlyRefersToAnother) {
  EXPECT_EQ(man_page_to_text(".\\\" c\n.so man7/other.7\n"), "");
  EXPECT_NE(man_page_to_text(".so macros\n.SH X\ny\n"), "");
}

TEST_F(ManPage, EndsWhateverTheMacrosDo) {
  std::string doubling = ".TH a 1\n.de a\n.b\n.b\n..\n.de b\n.a\n.a\n..\n";
  for (int i = 0; i < 200; ++i) doubling += ".a\n";
  man_page_to_text(doubling);
  man_page_to_text("");
  man_page_to_text(std::string("\0\xff\n.TH", 6));
}

TEST(Parsers, AreAllFoundByName) {
  for (const std::string_view name : parser_names()) EXPECT_NE(find_parser(name), nullptr);
  EXPECT_THROW(find_parser("none"), Error);
}

}  // namespace
}  // namespace troupe::corpus
