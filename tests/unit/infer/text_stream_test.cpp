// Text as it comes: whole characters, and an end before a stop text, wherever tokens end.
#include "infer/text_stream.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/utf8.h"
#include "error_of.h"

namespace troupe {
namespace {

// What is shown of `text` in pieces of `size` bytes.
std::string shown(std::vector<std::string> stops, const std::string& text, size_t size) {
  TextStream stream(std::move(stops));
  std::string all;
  for (size_t i = 0; i < text.size() && !stream.stopped(); i += size) {
    const std::string piece = stream.write(text.substr(i, size));
    EXPECT_FALSE(find_invalid_utf8(piece)) << piece;
    all += piece;
  }
  return all + stream.finish();
}

TEST(TextStream, EndsBeforeTheFirstStopTextWhereverTokensEnd) {
  const std::string text = "aab caf\u00e9 \U0001F600 end. END\n\nmore";
  for (size_t size = 1; size <= text.size(); ++size) {
    EXPECT_EQ(shown({}, text, size), text);
    EXPECT_EQ(shown({"zzz", "more!", "END?"}, text, size), text);
    EXPECT_EQ(shown({"ab c"}, text, size), "a");
    EXPECT_EQ(shown({"\n\n", "END"}, text, size), "aab caf\u00e9 \U0001F600 end. ");
    EXPECT_EQ(shown({"\u00e9 \U0001F600"}, text, size), "aab caf");
    EXPECT_EQ(shown({"b", "ab"}, text, size), "a");     // complete at once: the longest
    EXPECT_EQ(shown({"b caf", "c"}, text, size), "aab ");  // the first that is complete
    EXPECT_EQ(shown({"aab"}, text, size), "");
  }
}

TEST(TextStream, HoldsBackNoMoreThanWhatMayBecomeAStopText) {
  TextStream stream({"stop"});
  EXPECT_EQ(stream.write("a sto"), "a ");
  EXPECT_EQ(stream.write("st"), "sto");
  EXPECT_EQ(stream.write("o\xc3"), "sto");
  EXPECT_EQ(stream.write("\xa9"), "\u00e9");
  EXPECT_EQ(stream.write("\xff\x80\xf0\x9f"), "\xff\x80");
  EXPECT_EQ(stream.finish(), "\xf0\x9f");
  EXPECT_FALSE(stream.stopped());
}

TEST(TextStream, RefusesStopTextsThatCannotBe) {
  EXPECT_THAT(test::error_of([] { TextStream({"a", ""}); }, ErrorCode::kUsage), testing::HasSubstr("got an empty one"));
  EXPECT_THAT(test::error_of([] { TextStream({"a\x80"}); }, ErrorCode::kUsage),
              testing::HasSubstr("expected UTF-8, got byte 0x80 at byte 2"));
}

}  // namespace
}  // namespace troupe
