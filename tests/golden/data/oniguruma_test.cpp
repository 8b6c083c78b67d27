// Patterns read as Hugging Face tokenizers reads them (tools/tokenizer_patterns.py).
#include <gtest/gtest.h>
#include <zlib.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "data/tokenizer/word_splitter.h"
#include "troupe/error.h"

namespace troupe {
namespace {

std::vector<nlohmann::json> lines_with(const char* key) {
  std::ifstream file(TROUPE_TEST_DATA "/tokenizer/patterns.jsonl");
  std::vector<nlohmann::json> lines;
  for (std::string line; std::getline(file, line);)
    if (auto object = nlohmann::json::parse(line); object.contains(key)) lines.push_back(std::move(object));
  return lines;
}

TEST(Oniguruma, PatternsGiveTheSameWords) {
  const auto lines = lines_with("pattern");
  ASSERT_GT(lines.size(), 80u);
  for (const nlohmann::json& line : lines) {
    const auto pattern = line.at("pattern").get<std::string>(), text = line.at("text").get<std::string>();
    try {
      const WordSplitter splitter(pattern, pattern);
      std::vector<std::string> words;
      WordSplitter::Matcher(splitter).split(text, [&](std::string_view word) { words.emplace_back(word); });
      EXPECT_EQ(words, line.at("words").get<std::vector<std::string>>())
          << pattern << " as " << oniguruma_to_pcre2(pattern, pattern);
    } catch (const Error& error) {
      ADD_FAILURE() << error.what();
    }
  }
}

TEST(Oniguruma, SetsHaveTheSameCharacters) {
  const auto utf8 = [](uint32_t code) {
    const auto tail = [code](int shift) { return static_cast<char>(0x80 | (code >> shift & 0x3F)); };
    if (code < 0x80) return std::string{static_cast<char>(code)};
    if (code < 0x800) return std::string{static_cast<char>(0xC0 | code >> 6), tail(0)};
    if (code < 0x10000) return std::string{static_cast<char>(0xE0 | code >> 12), tail(6), tail(0)};
    return std::string{static_cast<char>(0xF0 | code >> 18), tail(12), tail(6), tail(0)};
  };
  std::vector<std::string> assigned;
  const Regex known("\\P{Cn}", Regex::Mode::kUtf, "assigned");
  RegexMatcher is_known(known);
  size_t begin, end;
  for (uint32_t code = 0; code < 0xF0000; ++code)
    if ((code < 0xD800 || code >= 0xF900) && is_known.find(utf8(code), 0, begin, end)) assigned.push_back(utf8(code));
  const auto lines = lines_with("set");
  ASSERT_GT(lines.size(), 70u);
  for (const nlohmann::json& line : lines) {
    const auto name = line.at("set").get<std::string>();
    const Regex set(oniguruma_to_pcre2(name, name), Regex::Mode::kUtf, name);
    RegexMatcher matcher(set);
    std::string members;
    int64_t count = 0;
    for (const std::string& character : assigned)
      if (matcher.find(character, 0, begin, end)) members += character, ++count;
    EXPECT_EQ(count, line.at("characters").get<int64_t>()) << name;
    EXPECT_EQ(crc32(0, reinterpret_cast<const Bytef*>(members.data()), static_cast<uInt>(members.size())),
              line.at("crc32").get<uint64_t>())
        << name;
  }
}

}  // namespace
}  // namespace troupe
