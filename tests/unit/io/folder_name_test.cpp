#include "io/folder_name.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "error_of.h"

namespace troupe {
namespace {

std::string error_of_name(const std::string& name) {
  return test::error_of([&] { check_folder_name(name, ErrorCode::kUsage, "study.toml:4: study.models"); },
                        ErrorCode::kUsage);
}

TEST(FolderName, MayBeAnyTextThatStaysInItsFolder) {
  for (const std::string name : {"dense", "moe-16", "model.toml", "v1.0 (b)", "\xe4\xb8\xad", "...x", ".tmp"})
    EXPECT_EQ(error_of_name(name), "");
  EXPECT_EQ(error_of_name(std::string(200, 'x')), "");
}

TEST(FolderName, IsRefusedWhereItWouldBeNoFolderOrAnother) {
  for (const std::string name :
       {"", ".", "..", "...", "v1.", "../x", "/x", "a/b", "a=b", "a\nb", "a\x7f", "a\xff", " a", "a "})
    EXPECT_EQ(error_of_name(name),
              "study.toml:4: study.models: expected a name that a folder can have (UTF-8, at most 200 bytes, no \"/\", "
              "\"=\" or control character, no space at either end, no \".\" at the end), got \"" +
                  name + "\"");
  EXPECT_NE(error_of_name(std::string(201, 'x')), "");
  EXPECT_NE(error_of_name(std::string("a\0b", 3)), "");
}

TEST(FolderName, IsRefusedWhereAFileOfOursHasIt) {
  for (const std::string name : {"writer.tmp-lock", "a.tmp-1-2", "made-from.json", "manifest.json"})
    EXPECT_THAT(error_of_name(name), testing::HasSubstr("expected a name that no file of the program's own has"));
}

TEST(FolderName, ThatDiffersInLetterCaseAloneIsTheSame) {
  FolderNames names;
  const auto error_of_adding = [&](const std::string& name) {
    return test::error_of([&] { names.add(name, ErrorCode::kUsage, "--domain", "one folder"); }, ErrorCode::kUsage);
  };
  for (const std::string name : {"news", "wiki", "\u00c4rzte"}) EXPECT_EQ(error_of_adding(name), "");
  EXPECT_EQ(error_of_adding("news"), "--domain: expected each name once, got news twice (one folder)");
  EXPECT_EQ(error_of_adding("News"),
            "--domain: expected names that differ in more than letter case, got news and News (one folder)");
  EXPECT_NE(error_of_adding("\u00e4rzte"), "");
  EXPECT_NE(error_of_adding("A\u0308rzte"), "") << "composed and decomposed";
  EXPECT_NE(error_of_adding("new/s"), "");
}

}  // namespace
}  // namespace troupe
