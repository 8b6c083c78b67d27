// Expected values are what Python 3.11 gives for the same expressions.
#include "base/unicode.h"

#include <gtest/gtest.h>

#include "base/utf8.h"

namespace troupe {
namespace {

TEST(Unicode, ChangesCaseByTheFullMappings) {
  EXPECT_EQ(unicode::lower("\u00c9LAN \u0130 \U0001e921"), "\u00e9lan i\u0307 \U0001e943");
  EXPECT_EQ(unicode::upper("stra\u00dfe \u0149 \ufb01n \u01c6 \u00e9\u10d0"), "STRASSE \u02bcN FIN \u01c4 \u00c9\u1c90");
  EXPECT_EQ(unicode::upper("\u1f80 \u1f88 \u1fb2 \u0390 \u1e9e \u0587"),
            "\u1f08\u0399 \u1f08\u0399 \u1fba\u0399 \u0399\u0308\u0301 \u1e9e \u0535\u0552");
  EXPECT_EQ(unicode::capitalized("\u00dfA"), "Ssa");
  EXPECT_EQ(unicode::capitalized("\u01c6UNGLA"), "\u01c5ungla");
  EXPECT_EQ(unicode::capitalized("\u1fb2"), "\u1fba\u0345");
  EXPECT_EQ(unicode::capitalized("\u1f80"), "\u1f88");
  EXPECT_EQ(unicode::capitalized("\u0149"), "\u02bcN");
  EXPECT_EQ(unicode::capitalized("\u0587"), "\u0535\u0582");
  EXPECT_EQ(unicode::capitalized("\u10d0"), "\u10d0");
  EXPECT_EQ(unicode::capitalized("\u1e9e"), "\u1e9e");
  EXPECT_EQ(unicode::capitalized(""), "");
}

TEST(Unicode, SigmaAtTheEndOfAWordIsAnotherLetter) {
  EXPECT_EQ(unicode::lower("\u039f\u0394\u039f\u03a3 \u03a3 \u03a3\u0391"), "\u03bf\u03b4\u03bf\u03c2 \u03c3 \u03c3\u03b1");
  EXPECT_EQ(unicode::capitalized("A\u03a3"), "A\u03c2");
  EXPECT_EQ(unicode::lower("A\u0301\u03a3"), "a\u0301\u03c2") << "marks are looked past";
  EXPECT_EQ(unicode::lower("A\u03a3\u0301"), "a\u03c2\u0301");
  EXPECT_EQ(unicode::lower("A\u03a3\u0301B"), "a\u03c3\u0301b");
  EXPECT_EQ(unicode::lower("\u0301\u03a3"), "\u0301\u03c3") << "no letter before";
  EXPECT_EQ(unicode::lower("A\u0670\u03a3\u1ab0"), "a\u0670\u03c2\u1ab0") << "marks of other scripts";
  EXPECT_EQ(unicode::lower("A\u00ad\u03a3\u200d"), "a\u00ad\u03c2\u200d") << "format characters";
  EXPECT_EQ(unicode::lower("A.\u03a3'B"), "a.\u03c3'b");
  EXPECT_EQ(unicode::lower("\u2160\u03a3 \u00aa\u03a3 \U0001f130\u03a3 1\u03a3"), "\u2170\u03c2 \u00aa\u03c2 \U0001f130\u03c2 1\u03c3");
}

TEST(Unicode, KnowsLetters) {
  for (const char* letter : {"a", "\u00e9", "\u05d0", "\u4e2d", "\u02b0", "\u01c5"})
    EXPECT_TRUE(unicode::is_letter(code_point(letter))) << letter;
  for (const char* other : {"1", "_", "\u2160", "\u0301", "\u00b2", "\u3000", "\u24d0"})
    EXPECT_FALSE(unicode::is_letter(code_point(other))) << other;
}

TEST(Unicode, ComposesToNormalFormC) {
  EXPECT_EQ(unicode::nfc("e\u0301 \u1100\u1161 \u212b \ufb01 a\u0323\u0307"), "\u00e9 \uac00 \u00c5 \ufb01 \u1ea1\u0307");
  EXPECT_EQ(unicode::nfc(std::string_view("a\0e\u0301", 5)), std::string_view("a\0\u00e9", 4));
  EXPECT_EQ(unicode::nfc(""), "");
}

TEST(Unicode, CountsColumns) {
  EXPECT_EQ(unicode::columns("a\u00e9 \u2013"), 4u);
  EXPECT_EQ(unicode::columns("\u65e5\u672c"), 4u);
  EXPECT_EQ(unicode::columns("e\u0301\u200b"), 1u);
}

TEST(Utf8, GivesCharactersAndTakesThem) {
  const std::string text = "a\u00e9\u20ac\U0001f600";
  const std::vector<std::string_view> all = characters(std::string_view(text));
  ASSERT_EQ(all.size(), 4u);
  std::string again;
  for (const std::string_view character : all) append_utf8(code_point(character), again);
  EXPECT_EQ(again, text);
  EXPECT_EQ(code_point(all[3]), char32_t{0x1F600});
  EXPECT_EQ(first_character(text), "a");
  EXPECT_EQ(last_character(text), "\U0001f600");
  EXPECT_EQ(count_characters(text), 4u);
  const std::string damaged = "\xff\xe2\x85";  // bytes that are in no sequence, none of which is U+0085
  ASSERT_EQ(characters(std::string_view(damaged)).size(), 3u);
  EXPECT_EQ(last_character(damaged), "\x85");
  EXPECT_EQ(code_point(last_character(damaged)), char32_t{0xFFFD});
}

}  // namespace
}  // namespace troupe
