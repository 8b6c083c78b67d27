// Every parser of the corpus on small inputs of the same form, on damage, and on mutated bytes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <zlib.h>

#include "base/error.h"
#include "base/process.h"
#include "data/corpus/parsers/arff.h"
#include "data/corpus/parsers/dictd.h"
#include "data/corpus/parsers/game_text.h"
#include "data/corpus/parsers/help_text.h"
#include "data/corpus/parsers/html.h"
#include "data/corpus/parsers/man.h"
#include "data/corpus/parsers/parser.h"
#include "data/corpus/parsers/pod.h"
#include "data/corpus/parsers/r_data.h"
#include "data/corpus/parsers/rst.h"
#include "data/corpus/parsers/sections.h"
#include "data/corpus/parsers/source_text.h"
#include "data/corpus/parsers/sword.h"
#include "data/corpus/parsers/wordnet.h"

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
  EXPECT_EQ(
      man_page_to_text(".\\\" comment\n.TH page 7 2020 system\n.SH NAME\npage \\- does\n.BR open (2)\nand\n.I more "
                       ".\n.PP\nNext \\fBbold\\fP\n"
                       "\\[bu] caf\\['e] \\(em a\\\\b \\&.x \\s-1S\\s0 \\*(lqq\\*(rq a\\ b \\\" end\n"),
      "page(7)\n\nNAME\n\npage - does open(2) and more .\n\nNext bold • café — a\\b .x S “q” a b\n\n");
}

TEST_F(ManPage, KeepsTagsDisplaysAndTables) {
  EXPECT_EQ(
      man_page_to_text(".TH t 1\n.TP\n.B \\-\\-long\\-tag\ntext\nmore\n.IP \\(bu 3\nitem\n.IP (1)\none\n.PP\n.nf\na\n"
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

std::string zlib(const std::string& text) {
  uLongf size = compressBound(static_cast<uLong>(text.size()));
  std::string packed(size, '\0');
  compress(reinterpret_cast<Bytef*>(packed.data()), &size, reinterpret_cast<const Bytef*>(text.data()),
           static_cast<uLong>(text.size()));
  packed.resize(size);
  return packed;
}

std::string little(uint64_t value, int bytes = 4) {
  std::string out;
  for (int i = 0; i < bytes; ++i) out += static_cast<char>(value >> (8 * i));
  return out;
}

// A module of one block with these entries; `entry_bytes` as in its .?zv.
struct SwordModule {
  std::string blocks, entries, compressed;
  SwordModule(const std::vector<std::string>& texts, size_t entry_bytes) {
    std::string block;
    for (const std::string& text : texts) {
      entries += little(0) + little(block.size()) + little(text.size(), entry_bytes == 12 ? 4 : 2);
      block += text;
    }
    compressed = "????" + zlib(block);
    blocks = little(4) + little(compressed.size() - 4) + little(block.size());
  }
};

TEST(Sword, MakesADocumentOfEachChapter) {
  for (const size_t entry_bytes : {size_t{10}, size_t{12}}) {
    SwordModule module(
        {"<div osisID=\"Gen\" type=\"book\"/><title>Genesis</title>", "<chapter n=\"1\" sID=\"Gen.1\"/> ",
         "In <w lemma=\"strong:H1\">the</w> beginning<note>or: at <hi>first</hi></note>.",
         "<l>Be &amp; see&#8217;s</l> <chapter n=\"1\" eID=\"Gen.1\"/>", "<chapter n=\"2\" sID=\"Gen.2\"/>Thus."},
        entry_bytes);
    module.entries += module.entries.substr(module.entries.size() - entry_bytes);  // a verse that shares the entry
    Collect collect;
    parse_sword_verses(module.blocks, module.entries, entry_bytes, module.compressed, collect);
    EXPECT_THAT(collect.texts, ElementsAre("Genesis\n", "In the beginning .\nBe & see\u2019s\n", "Thus."));
  }
}

TEST(Sword, SaysWhichBlockIsDamaged) {
  const SwordModule module({"<chapter sID=\"a\"/>Text"}, 10);
  const auto parse = [](const std::string& blocks, const std::string& entries, const std::string& compressed) {
    return error_of([&] { parse_sword_verses(blocks, entries, 10, compressed, [](const std::string&) {}); });
  };
  EXPECT_THAT(parse(module.blocks, module.entries + "x", module.compressed), HasSubstr("entries: expected rows of 10"));
  EXPECT_THAT(parse("", module.entries, module.compressed), HasSubstr("block 0: expected it inside of 0 bytes"));
  EXPECT_THAT(parse(module.blocks, little(0) + little(7) + little(99, 2), module.compressed),
              HasSubstr("entry 0: expected it inside of "));
  EXPECT_THAT(parse(module.blocks, module.entries, std::string(module.compressed.size(), 'x')),
              HasSubstr("block 0: expected zlib data"));
  expect_survives_damage(module.blocks + module.entries + module.compressed, [&](const std::string& bytes) {
    const std::string_view all = bytes;
    if (all.size() >= 22)
      parse_sword_verses(all.substr(0, 12), all.substr(12, 10), 10, all.substr(22), [](const std::string&) {});
  });
}

TEST(Sword, ReadsDictionaries) {
  const std::string entry = "<entryFree n=\"AARON\"><def>\n<lb/>Lineage of <ref>Ex 6:16</ref></def></entryFree>";
  const std::string compressed = zlib(little(1) + little(12) + little(entry.size()) + entry);
  Collect collect;
  parse_sword_dictionary(little(0) + little(compressed.size()), compressed, collect);
  EXPECT_THAT(collect.texts, ElementsAre("AARON\nLineage of Ex 6:16\n"));
  EXPECT_THAT(error_of([&] { parse_sword_dictionary(little(0) + little(3), zlib("\1\2"), collect); }),
              HasSubstr("block 0: expected "));
}

TEST(WordNet, GivesWordsAndGloss) {
  Collect collect;
  parse_wordnet(
      "  1 This software and database is being provided\n"
      "00205046 30 v 02 better 0 turn_around 0 001 $ 00205885 v 0000 02 + 01 00 | get better; \"It improved\"  \n"
      "00001740 00 a 01 galore(ip) 0 000 | in plenty \n",
      collect);
  EXPECT_THAT(collect.texts,
              ElementsAre("better, turn around (verb): get better; \"It improved\"", "galore (adjective): in plenty"));
  EXPECT_THAT(error_of([&] { parse_wordnet("\n0 3 n zz word 0 | gloss\n", collect); }), HasSubstr("line 2: expected "));
}

TEST(Gcide, LosesTheMarksOfEveryEntry) {
  EXPECT_EQ(without_gcide_marks("Opaline \\O\"pal*ine\\, a. [F. opalin.]\n   Like opal.\n   [1913 Webster]\n"),
            "Opaline, a. [F. opalin.]\n   Like opal.\n");
}

TEST(Pod, BecomesText) {
  EXPECT_EQ(
      pod_to_text("package Code;\n\n=head1 B<NAME> of C<< a->b >>\n\nSee L<perlfunc/\"my\">, L<text|page>,\n"
                  "E<lt>E<0x41>X<index>Z<>.\n\n  code $x<1>\n\n=over 4\n\n=item *\n\nOne\n\n=back\n\n=begin html\n\n"
                  "<br>\n\n=end html\n\n=cut\n\nsub hidden;\n\n=pod\n\nEnd.\n"),
      "NAME of a->b\n\nSee \"my\" in perlfunc, text,\n<A.\n\n  code $x<1>\n\n* One\n\nEnd.\n\n");
  Collect collect;
  split_pod_questions("=head1 NAME\n\nx\n\n=head2 Why?\n\nBecause.\n\n=head2 How?\n\nSo.\n", collect);
  EXPECT_THAT(collect.texts, ElementsAre("Why?\n\nBecause.\n\n", "How?\n\nSo.\n\n"));
  expect_survives_damage("=head1 A I<b C<< c E<lt> >> L<a/b>\n\n=item *\n\nx", pod_to_text);
}

TEST(Rst, BecomesText) {
  EXPECT_EQ(
      rst_to_text(":tocdepth: 2\n.. _label:\n\n=====\nTitle\n=====\n\n.. a comment\n   of two lines\n\n"
                  "See :ref:`the text <label>`, :func:`~os.path.join`, :pep:`8`, `a link <http://x>`_ and\n"
                  "``*code*`` of **bold** *words*, a*b, f(*args), name_.\n\n.. note:: Mind\n   the gap.\n\n"
                  ".. function:: f(x)\n   :noindex:\n\n   Does *f*.\n\n.. versionadded:: 3.2\n\n.. code-block:: c\n"
                  "   :linenos:\n\n   *p = 1;\n\n.. toctree::\n\n   gone\n\nAs here::\n\n\t**kept**\n\nEnd.\n"),
      "Title\n\n"
      "See the text, join, PEP 8, a link and\n*code* of bold words, a*b, f(*args), name.\n\nMind\n   the gap.\n\n"
      "f(x)\n\n   Does f.\n\nNew in version 3.2\n\n\n   *p = 1;\n\nAs here:\n\n\t**kept**\n\nEnd.\n");
}

TEST(HelpText, VimLosesTargetsAndBars) {
  Collect collect;
  parse_vim_help(
      "1. Motion\t\t*motion* *o_v*\nSee |:omap| and a*b*c: >\n\t:map x\n<Done.\n====\n2. More\n vim:tw=78:\n", collect);
  EXPECT_THAT(collect.texts, ElementsAre("1. Motion\t\t \nSee :omap and a*b*c:\n\t:map x\n<Done.\n", "2. More\n"));
}

TEST(HelpText, ZimLosesItsMarkup) {
  Collect collect;
  parse_zim_wiki(
      "Content-Type: text/x-zim-wiki\n\n====== Tags ======\nA **tag** is [[Page|words]] at https://x //so//.\n",
      collect);
  EXPECT_THAT(collect.texts, ElementsAre("\nTags\nA tag is words at https://x so.\n"));
}

TEST(HelpText, InfoIsANodeEach) {
  Collect collect;
  const std::string index("\x1f\nFile: a.info,  Node: Index,  Up: Top\n\n\0\b[index\0\b]\n* Menu:\n\n* a: b.\n", 65);
  parse_info(
      "This is a.info\n\x1f\nFile: a.info,  Node: Top,  Next: B,  Up: (dir)\n\nTitle\n*****\n\nSee *note B::.\n\n"
      "* Menu:\n\n* B::   about b\n\nEnd.\n" +
          index + "\x1f\nTag Table:\nNode: Top\n",
      collect);
  EXPECT_THAT(collect.texts, ElementsAre("\n\nTitle\n\nSee note B.\n\n\n\nEnd.\n"));
}

TEST(GameText, WesnothKeepsWhatIsSaid) {
  Collect collect;
  parse_wesnoth(
      "[scenario]\n name= _ \"Shore\"\n [message]\n  speaker=Konrad\n  message= _ \"He said \"\"no\"\"\n twice.\" + \n"
      "   _\" Well.\"\n [/message]\n story= _ \"<i>Once</i>\"\n icon=\"x.png\" message=\"raw\"\n[/scenario]\n",
      collect);
  EXPECT_THAT(collect.texts, ElementsAre("Konrad: He said \"no\"\n twice. Well.\n\nOnce\n\n"));
}

TEST(GameText, EndlessSkyIsABlockEach) {
  Collect collect;
  parse_endless_sky(
      "mission \"A\"\n\tdialog `You see <planet>.`\n\t# `not this`\n\tname `One`\nship \"B\"\n\tmass 3\nevent\n\t`It "
      "is so.`\n",
      collect);
  EXPECT_THAT(collect.texts, ElementsAre("You see <planet>.\n", "It is so.\n"));
}

TEST(GameText, CataclysmKeepsLinesAndResponses) {
  Collect collect;
  parse_cataclysm(
      R"([{"id": "x y", "dynamic_line": {"npc_need": "a b", "yes": "Go away.", "no": ["Come in.", "Come in."]},
                     "responses": [{"text": "<color_red>Well</color> then", "topic": "T X"}, {"text": "<end_talking>"}]},
                    {"type": "item", "name": "Rod", "description": {"str": "A rod."}}])",
      collect);
  EXPECT_THAT(collect.texts, ElementsAre("Come in.\nGo away.\nWell then\n", "A rod.\n"));
  EXPECT_THAT(error_of([&] { parse_cataclysm("[{", collect); }), HasSubstr("expected"));
}

TEST(GameText, CrossfireKeepsWhatSignsSay) {
  Collect collect;
  parse_crossfire(
      "arch map\nmsg\nCreated: by a b c d\nendmsg\nend\narch sign\nmsg\n@match *\nBeware of the great "
      "dog!\nendmsg\nend\n"
      "arch bow\nmsg\nElven Bow\nendmsg\nend\n",
      collect);
  EXPECT_THAT(collect.texts, ElementsAre("Beware of the great dog!\n\n"));
}

TEST(GameText, GearHeadKeepsWhatPeopleSay) {
  Collect collect;
  parse_gearhead(
      "% comment <Not this one.>\nstart <if= V1 1 else GoMsg.>\nMsg1 <Yes, are you there?>\nPrompt2_1 <I will "
      "go.>\nrumor3 <go now>\n",
      collect);
  EXPECT_THAT(collect.texts, ElementsAre("Yes, are you there?\nI will go.\n"));
}

TEST(SourceText, MetamathJoinsCommentAndStatement) {
  Collect collect;
  parse_metamath(
      "$( Title $)\n$c ( ) $.\n${ min $e |- ph $.\n$( Modus\n   ponens. $)\nax-mp $a |- ps $.\n$}\n"
      "$( Twice. $) id $p |- ( ph -> ph ) $= ( a b ) AB $.\n",
      collect);
  EXPECT_THAT(collect.texts, ElementsAre("Modus\nponens.\nax-mp $a |- ps\n", "Twice.\nid $p |- ( ph -> ph )\n"));
}

TEST(SourceText, IsCutAtSectionsAndSizes) {
  Collect collect;
  split_tex("% comment\nIntro\n\\subsec{a}\\label{x}\nText $x$.\n", collect);
  parse_source(std::string(kMaxSourceBytes + 1, 'x'), collect);
  parse_source("int x;\n", collect);
  parse_perl_license("package X;\n__LICENSE__\nBe free.\n", collect);
  EXPECT_THAT(collect.texts, ElementsAre("Intro\n", "\\subsec{a}\\label{x}\nText $x$.\n", "int x;\n", "Be free.\n"));
}

TEST(Html, ReadsMallardAndLeavesOutPhp) {
  EXPECT_EQ(
      mallard_to_text(
          "<?xml version=\"1.0\"?><page xmlns=\"http://projectmallard.org/1.0/\"><info><desc>no</desc>"
          "</info><title>Power</title><p>Turn it <em>on</em>.</p><steps><item><p>Press.</p></item></steps></page>"),
      "Power\n\nTurn it on.\n\nPress.\n\n");
  EXPECT_EQ(html_to_text("<? $book = '..'?><body><p>Text</p><? footer('x'); ?></body>"), "Text\n\n");
}

TEST(Parsers, AreAllFoundByName) {
  for (const NamedParser& row : parsers()) EXPECT_EQ(find_parser(row.name), row.parser);
  EXPECT_THROW(find_parser("none"), Error);
}

}  // namespace
}  // namespace troupe::corpus
