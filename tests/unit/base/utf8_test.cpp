#include "base/utf8.h"

#include <gtest/gtest.h>

namespace troupe {
namespace {

TEST(VisibleText, EscapesWhatATerminalCannotShow) {
  EXPECT_EQ(visible_text("a\tb\n\xc3\xa9 \xe2\x82\xac"), "a\tb\n\xc3\xa9 \xe2\x82\xac");
  EXPECT_EQ(visible_text("b\xff/\xc3"), "b\\xff/\\xc3");
  EXPECT_EQ(visible_text("\x1b[31m\r\x7f"), "\\x1b[31m\\x0d\\x7f");
  EXPECT_EQ(visible_text(std::string_view("\0", 1)), "\\x00");
  EXPECT_EQ(visible_text("\xc2\x9b" "31m\xc2\xa0"), "\\xc2\\x9b31m\xc2\xa0") << "control characters of 8 bits";
  EXPECT_EQ(visible_text(""), "");
}

TEST(VisibleText, OfOneLineHasNoEndsOfLines) {
  EXPECT_EQ(visible_line("a\tb\n\xc3\xa9"), "a\\x09b\\x0a\xc3\xa9");
}

}  // namespace
}  // namespace troupe
