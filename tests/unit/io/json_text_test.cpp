#include "io/json_text.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "base/utf8.h"
#include "io/atomic_file.h"
#include "io/json_file.h"
#include "temporary_folder.h"

namespace troupe {
namespace {

using Json = nlohmann::ordered_json;

TEST(JsonText, WritesAnyBytes) {
  for (int first = 0; first < 256; ++first)
    for (const char* rest : {"", "\xad", "\xb8\xad", "x"}) {
      const std::string bytes = static_cast<char>(first) + std::string(rest);
      const Json value = {{"text", bytes}, {bytes + "key", {bytes}}};
      for (const std::string& text : {json_text(value), json_file_text(value), json_text(nlohmann::json(value))}) {
        EXPECT_FALSE(find_invalid_utf8(text)) << first << rest;
        const auto again = nlohmann::json::parse(text);
        if (!find_invalid_utf8(bytes)) {
          EXPECT_EQ(again, nlohmann::json(value));
        }
      }
    }
  EXPECT_EQ(json_text(Json("\xe4\xb8\xad\xe5\x9b")), "\"\xe4\xb8\xad\xef\xbf\xbd\"") << "a sequence that is cut";
}

TEST(JsonText, WritesFilesWithAnyBytes) {
  const test::TemporaryFolder folder;
  write_json_file(folder / "x.json", Json{{"path", "a\xff"}});
  EXPECT_EQ(read_file(folder / "x.json"), "{\n \"path\": \"a\xef\xbf\xbd\"\n}\n");
}

TEST(JsonText, ReadsBackTheNumbersThatItWrites) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  EXPECT_EQ(json_text(Json{1.5, 0.1, NAN, kInfinity, -kInfinity, -3}), "[1.5,0.1,null,null,null,-3]");
  const nlohmann::json read = nlohmann::json::parse("[1.5,null,-3]");
  EXPECT_EQ(number_or_nan(read[0]), 1.5);
  EXPECT_TRUE(std::isnan(number_or_nan(read[1])));
  EXPECT_EQ(number_or_nan(read[2]), -3.0);
  EXPECT_THROW(number_or_nan(nlohmann::json("1")), nlohmann::json::type_error);
}

TEST(JsonText, CutsExcerptsBetweenCharacters) {
  EXPECT_EQ(json_excerpt(Json(std::string(58, 'x'))), '"' + std::string(58, 'x') + '"');
  EXPECT_EQ(json_excerpt(Json(std::string(59, 'x'))), '"' + std::string(59, 'x') + "...");
  std::string han;
  for (int i = 0; i < 30; ++i) han += "\xe4\xb8\xad";
  for (const char* before : {"", "a", "ab"})
    EXPECT_FALSE(find_invalid_utf8(json_excerpt(Json(before + han)))) << before;
}

}  // namespace
}  // namespace troupe
