#include "io/folder_name.h"

#include <gtest/gtest.h>

#include "error_of.h"

namespace troupe {
namespace {

std::string error_of_name(const std::string& name) {
  return test::error_of([&] { check_folder_name(name, ErrorCode::kUsage, "study.toml:4: study.models"); },
                        ErrorCode::kUsage);
}

TEST(FolderName, MayBeAnyTextThatStaysInItsFolder) {
  for (const std::string name : {"dense", "moe-16", "model.toml", "v1.0 (b)", "\xe4\xb8\xad", "..."})
    EXPECT_EQ(error_of_name(name), "");
  EXPECT_EQ(error_of_name(std::string(200, 'x')), "");
}

TEST(FolderName, IsRefusedWhereItWouldBeNoFolderOrAnother) {
  for (const std::string name : {"", ".", "..", "../x", "/x", "a/b", "a=b", "a\nb", "a\x7f", "a\xff", " a", "a "})
    EXPECT_EQ(error_of_name(name),
              "study.toml:4: study.models: expected a name that a folder can have (UTF-8, at most 200 bytes, no \"/\", "
              "\"=\" or control character, no space at either end), got \"" +
                  name + "\"");
  EXPECT_NE(error_of_name(std::string(201, 'x')), "");
  EXPECT_NE(error_of_name(std::string("a\0b", 3)), "");
}

}  // namespace
}  // namespace troupe
