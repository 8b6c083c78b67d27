// tokenizer.json: what is refused, and with which words.
#include <fmt/core.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/rng.h"
#include "data/tokenizer/definition.h"
#include "data/tokenizer/tokenizer.h"
#include "error_of.h"
#include "io/atomic_file.h"
#include "temporary_folder.h"

namespace troupe {
namespace {

using Json = nlohmann::json;
using testing::HasSubstr;

const std::string kFolder = TROUPE_TEST_DATA "/tokenizer/";

std::string error_of_text(const std::string& text) {
  return test::error_of([&] { Tokenizer(parse_tokenizer_json(text, "t.json"), "t.json"); });
}

// Reads a file with one value changed; a null pointer to `remove` the key.
std::string error_with(const std::string& pointer, const Json& value, const std::string& file = "byte_level.json") {
  Json root = Json::parse(read_file(kFolder + file));
  root[Json::json_pointer(pointer)] = value;
  return error_of_text(root.dump());
}

// Gemma 3 has 6,414.
TEST(TokenizerJson, TakesThousandsOfAddedTokens) {
  Json root = Json::parse(read_file(kFolder + "byte_level.json"));
  for (int i = 0; i < 8000; ++i)
    root["added_tokens"].push_back(
        Json{{"id", 1000 + i}, {"content", fmt::format("<unused{}>", i)}, {"special", false}, {"normalized", false}});
  const Tokenizer tokenizer(parse_tokenizer_json(root.dump(), "t.json"), "t.json");
  EXPECT_EQ(tokenizer.encode("<unused12><unused7999>"), (std::vector<int32_t>{1012, 8999}));
  EXPECT_EQ(tokenizer.decode(tokenizer.encode("<unused1<unused1> x")), "<unused1<unused1> x");
}

TEST(TokenizerJson, NormalisesByFormKc) {
  Json root = Json::parse(read_file(kFolder + "byte_level.json"));
  root["normalizer"] = {{"type", "NFKC"}};
  const Tokenizer tokenizer(parse_tokenizer_json(root.dump(), "t.json"), "t.json");
  EXPECT_EQ(tokenizer.decode(tokenizer.encode("\uff21\ufb01 e\u0301 \u00bd \xff")), "Afi \u00e9 1\u20442 \xff");
}

// Gemma lacks <0x09>, a tab being a token of its own; behind a Fuse one character may be replaced.
TEST(TokenizerJson, TakesCharactersForTheirBytesAndReplacesBehindAFuse) {
  Json root = Json::parse(read_file(kFolder + "published/gemma.json"));
  const Tokenizer before(parse_tokenizer_json(root.dump(), "t.json"), "t.json");
  const int32_t id = root["model"]["vocab"]["<0x09>"].get<int32_t>();
  root["model"]["vocab"].erase("<0x09>");
  EXPECT_THAT(error_of_text(root.dump()), HasSubstr("expected a token for each of the 256 bytes, got none for <0x09>"));
  root["model"]["vocab"]["\t"] = id;
  root["decoder"] = Json::parse(R"({"type": "Sequence", "decoders": [{"type": "ByteFallback"}, {"type": "Fuse"},
      {"type": "Replace", "pattern": {"String": "\u2581"}, "content": " "}]})");
  const Tokenizer tokenizer(parse_tokenizer_json(root.dump(), "t.json"), "t.json");
  const std::string text = "a\tb c \u00e9";
  EXPECT_EQ(tokenizer.encode(text), before.encode(text));
  EXPECT_EQ(tokenizer.decode(tokenizer.encode(text)), text);
  Json stripped = root;
  stripped["decoder"]["decoders"].insert(stripped["decoder"]["decoders"].begin() + 2,
                                         Json::parse(R"({"type": "Strip", "content": " ", "start": 1, "stop": 0})"));
  EXPECT_THAT(error_of_text(stripped.dump()), HasSubstr("decoder.decoders[3]: expected no such step behind a Fuse"));
  root["decoder"]["decoders"][2]["pattern"]["String"] = "ab";
  EXPECT_THAT(error_of_text(root.dump()), HasSubstr("decoder.decoders[2]: expected no such step behind a Fuse"));
}

TEST(TokenizerJson, RefusesUnigramModelsThatAreNoneNamingTheField) {
  const auto error = [](const std::string& pointer, const Json& value) {
    return error_with(pointer, value, "sentencepiece/unigram.json");
  };
  EXPECT_EQ(error("/model/byte_fallback", false), "");
  EXPECT_EQ(error("/model/byte_fallback", true),
            "t.json: model.vocab: expected a token for each of the 256 bytes, got none for <0x00>");
  EXPECT_EQ(error("/model/unk_id", nullptr), "t.json: model.unk_id: expected the place of a piece in vocab, got null");
  EXPECT_EQ(error("/model/unk_id", 402), "t.json: model.unk_id: expected the place of a piece in vocab, got 402");
  EXPECT_EQ(error("/model/vocab/7", "x"), "t.json: model.vocab[7]: expected [\"PIECE\", SCORE], got \"x\"");
  EXPECT_EQ(error("/model/vocab/7", Json::array({"x"})),
            "t.json: model.vocab[7]: expected [\"PIECE\", SCORE], got [\"x\"]");
  EXPECT_EQ(error("/model/vocab/7", Json::array({"x", "y"})),
            "t.json: model.vocab[7][1]: expected a number, got \"y\"");
  EXPECT_EQ(error("/model/vocab/7", Json::array({"<s>", -1.0})),
            "t.json: model.vocab: \"<s>\": expected each token once, got it twice");
  EXPECT_THAT(error("/model/merges", Json::array()), HasSubstr("t.json: model.merges: expected no such field"));
  EXPECT_EQ(error_of_text(R"({"model": {"type": "SentencePiece", "file": "!"}})"),
            "t.json: model.file: expected base64, got other text");
}

TEST(TokenizerJson, ReadsAllKindsOfItsTestData) {
  for (const char* const file : {"byte_level.json", "split_whole_words.json", "prefix_space.json", "added_tokens.json"})
    EXPECT_EQ(error_of_text(read_file(kFolder + file)), "") << file;
}

TEST(TokenizerJson, RefusesWhatItWouldDoDifferentlyNamingTheField) {
  const struct {
    const char* pointer;
    Json value;
    const char* message;
  } cases[] = {
      {"/truncation", {{"max_length", 5}}, "t.json: truncation: expected null, got {\"max_length\":5}"},
      {"/padding", {{"strategy", "BatchLongest"}}, "t.json: padding: expected null, got"},
      {"/normalizer",
       {{"type", "NFKD"}},
       "t.json: normalizer.type: expected \"NFC\", \"NFKC\", \"Precompiled\", \"Prepend\", \"Replace\", \"Strip\" or "
       "\"Sequence\", "
       "got \"NFKD\""},
      {"/normalizer",
       {{"type", "Sequence"}, {"normalizers", {{{"type", "NFC"}}, {{"type", "Lowercase"}}}}},
       "t.json: normalizer.normalizers[1].type: expected"},
      {"/normalizer",
       {{"type", "Replace"}, {"pattern", {{"Regex", "\\w+"}}}, {"content", " "}},
       "t.json: normalizer.pattern.Regex: "},
      {"/normalizer",
       {{"type", "Precompiled"}, {"precompiled_charsmap", "AAA"}},
       "t.json: normalizer.precompiled_charsmap: expected base64, got other text"},
      {"/normalizer",
       {{"type", "Precompiled"}, {"precompiled_charsmap", "AAAA"}},
       "t.json: normalizer.precompiled_charsmap: expected a trie of at most 3 bytes"},
      {"/extra", 1, "t.json: extra: expected no such field (it would be ignored)"},
      {"/version", "2.0", "t.json: version: expected \"1.0\", got \"2.0\""},
      {"/model/type", "WordPiece", "t.json: model.type: expected \"BPE\" or \"Unigram\", got \"WordPiece\""},
      {"/model/dropout", 0.1, "t.json: model.dropout: expected null, got 0.1"},
      {"/model/unk_token", 3, "t.json: model.unk_token: expected a string, got 3"},
      {"/model/continuing_subword_prefix", "##",
       "t.json: model.continuing_subword_prefix: expected null or \"\", got \"##\""},
      {"/model/end_of_word_suffix", "</w>", "t.json: model.end_of_word_suffix: expected null or \"\", got \"</w>\""},
      {"/model/byte_fallback", true, "t.json: model.byte_fallback: expected false, got true"},
      {"/model/ignore_merges", "yes", "t.json: model.ignore_merges: expected true or false, got \"yes\""},
      {"/model/strange", 1, "t.json: model.strange: expected no such field"},
      {"/model/vocab/Ġ", nullptr, "t.json: model.vocab.Ġ: expected an integer, got null"},
      {"/model/vocab/zz", 5, "t.json: model.vocab: \"zz\": expected an id of its own, got 5"},
      {"/model/vocab/z z", 5000, "t.json: model.vocab: \"z z\": expected characters of the byte alphabet"},
      {"/model/vocab/zz", 1LL << 40, "t.json: model.vocab: \"zz\": expected an id from 0 to 16777215"},
      {"/model/merges/2", "a", "t.json: model.merges[2]: expected two tokens separated by one space, got \"a\""},
      {"/model/merges/2", "q qq", "t.json: model.merges[2]: expected tokens of the vocabulary, got \"qq\""},
      {"/model/merges/2", Json::array({"a"}), "t.json: model.merges[2]: expected two tokens, got [\"a\"]"},
      {"/model/merges/2", 7, "t.json: model.merges[2]: expected \"LEFT RIGHT\" or [\"LEFT\", \"RIGHT\"], got 7"},
      {"/model/merges/1", Json::parse(read_file(kFolder + "byte_level.json"))["model"]["merges"][0],
       "t.json: model.merges[1]: expected each merge once"},
      {"/pre_tokenizer", nullptr, "t.json: pre_tokenizer: expected one ByteLevel, at its end, as the decoder is one"},
      {"/pre_tokenizer/type", "Whitespace", "t.json: pre_tokenizer.type: expected \"ByteLevel\", \"Digits\", "},
      {"/pre_tokenizer/new_option", false, "t.json: pre_tokenizer.new_option: expected no such field"},
      {"/decoder", nullptr, "t.json: decoder: expected an object, got null"},
      {"/decoder/type", "WordPiece", "t.json: decoder.type: expected \"ByteLevel\", \"ByteFallback\""},
      {"/decoder", {{"type", "ByteFallback"}}, "t.json: pre_tokenizer: expected no ByteLevel, as the decoder has none"},
      {"/post_processor",
       {{"type", "RobertaProcessing"}},
       "t.json: post_processor.type: expected \"ByteLevel\", \"TemplateProcessing\" or \"Sequence\", got"},
      {"/added_tokens/0/single_word", true, "t.json: added_tokens[0].single_word: expected false, got true"},
      {"/added_tokens/0/content", "", "t.json: added_tokens[0].content: expected at least one character"},
      {"/added_tokens/0/id", 3, "t.json: added_tokens[0].id: expected 0 as in the vocabulary, got 3"},
      {"/added_tokens/0/id", -3, "t.json: added_tokens[0].id: expected an id from 0 to 16777215, got -3"},
      {"/added_tokens/0/content", "<other>", "t.json: added_tokens[0].id: expected an id of its own, got 0"},
      {"/added_tokens/0/color", "red", "t.json: added_tokens[0].color: expected no such field"},
  };
  for (const auto& [pointer, value, message] : cases)
    EXPECT_THAT(error_with(pointer, value), HasSubstr(message)) << pointer;
}

TEST(TokenizerJson, RefusesOtherSplits) {
  const auto error = [](const std::string& pointer, const Json& value) {
    return error_with("/pre_tokenizer/pretokenizers" + pointer, value, "split_whole_words.json");
  };
  const std::string field = "t.json: pre_tokenizer.pretokenizers";
  EXPECT_THAT(error("/0/behavior", "Alone"),
              HasSubstr(field + "[0].behavior: expected one of \"Isolated\", \"Removed\""));
  EXPECT_THAT(error("/0/invert", 1), HasSubstr(field + "[0].invert: expected true or false, got 1"));
  EXPECT_THAT(error("/0/pattern", {{"Glob", " "}}), HasSubstr(field + "[0].pattern.Glob: expected no such field"));
  EXPECT_THAT(error("/0/pattern", {{"String", ""}}),
              HasSubstr(field + "[0].pattern.String: expected at least one character"));
  EXPECT_THAT(error("/0/pattern/Regex", "\\X"), HasSubstr(field + "[0].pattern.Regex: expected constructs"));
  EXPECT_THAT(error("/0/type", "Punctuation"), HasSubstr(field + "[0].type: expected \"ByteLevel\", \"Digits\""));
  EXPECT_THAT(error("/2", {{"type", "Digits"}}),
              HasSubstr("t.json: pre_tokenizer: expected one ByteLevel, at its end, as the decoder is one, got"));
}

TEST(TokenizerJson, RefusesOtherTemplates) {
  const auto error = [](const std::string& pointer, const Json& value) {
    return error_with("/post_processor/processors/1" + pointer, value, "published/llama3.json");
  };
  const std::string field = "t.json: post_processor.processors[1]";
  EXPECT_THAT(error("/single/0", {{"Text", "A"}}), HasSubstr(field + ".single[0].Text: expected no such field"));
  EXPECT_THAT(error("/single/0/SpecialToken/id", "<x>"),
              HasSubstr(field + ".single[0].SpecialToken.id: expected a key of special_tokens, got \"<x>\""));
  EXPECT_THAT(error("/single/1/Sequence/id", "C"),
              HasSubstr(field + ".single[1].Sequence.id: expected \"A\" or \"B\""));
  EXPECT_THAT(error("/single", Json::array()), HasSubstr(field + ".single: expected one Sequence, A"));
  EXPECT_THAT(error("/special_tokens/<s>/ids", {9999}),
              HasSubstr("t.json: post_processor: special_tokens.<s>: expected ids of tokens, got 9999"));
  EXPECT_THAT(error("/special_tokens/<s>/ids", {-1}),
              HasSubstr(field + ".special_tokens.<s>.ids[0]: expected an id from 0 to 16777215, got -1"));
}

TEST(TokenizerJson, RefusesCharactersWithoutAWayToEveryByte) {
  const auto error = [](const std::string& pointer, const Json& value) {
    return error_with(pointer, value, "published/llama2.json");
  };
  EXPECT_THAT(error("/model/byte_fallback", false), HasSubstr("t.json: model: byte_fallback: expected true"));
  EXPECT_THAT(error("/decoder/decoders/1", {{"type", "Fuse"}}), HasSubstr("expected no such step behind a Fuse"));
  EXPECT_THAT(error("/decoder/decoders/2", {{"type", "ByteFallback"}}),
              HasSubstr("decoders[3]: expected a Fuse before"));
  EXPECT_THAT(error("/decoder/decoders/3/stop", 1), HasSubstr("t.json: decoder.decoders[3].stop: expected 0, got 1"));
  EXPECT_THAT(error("/decoder", {{"type", "Fuse"}}),
              HasSubstr("byte_fallback: expected a ByteFallback in the decoder"));
  EXPECT_THAT(error("/normalizer/normalizers/1/pattern/String", ""), HasSubstr("expected at least one character"));
  Json root = Json::parse(read_file(kFolder + "published/llama2.json"));
  root["model"]["vocab"].erase("<0xFE>");
  EXPECT_THAT(error_of_text(root.dump()), HasSubstr("expected a token for each of the 256 bytes, got none for <0xFE>"));
}

TEST(TokenizerJson, KeepsTheTemplateAndTheStepsItWrites) {
  for (const char* const name :
       {"llama3", "nemo", "deepseek", "o200k", "llama2", "mistral", "metaspace_split", "gemma"}) {
    const Json read = Json::parse(read_file(kFolder + "published/" + name + ".json"));
    const Json written = Json::parse(tokenizer_json(parse_tokenizer_json(read.dump(), "t.json")));
    for (const char* const part : {"pre_tokenizer", "added_tokens"}) EXPECT_EQ(written[part], read[part]) << name;
    if (std::string_view(name) != "deepseek") {
      EXPECT_EQ(written["normalizer"], read["normalizer"]) << name;
    }
    const Json expected = read["post_processor"].is_object() && read["post_processor"]["type"] == "Sequence"
                              ? read["post_processor"]["processors"].back()
                              : read["post_processor"];
    const Json got = written["post_processor"]["type"] == "Sequence" ? written["post_processor"]["processors"].back()
                                                                     : written["post_processor"];
    if (!expected.is_null()) {
      EXPECT_EQ(got, expected) << name;
    }
    for (const char* const key : {"vocab", "ignore_merges", "byte_fallback", "unk_token", "fuse_unk"})
      EXPECT_EQ(written["model"].value(key, Json()), read["model"].value(key, written["model"][key])) << name << key;
  }
}

TEST(TokenizerConfig, NamesTheEndOfTextAndIsKept) {
  const test::TemporaryFolder folder;
  std::filesystem::copy(kFolder + "published/nemo.json", folder / "tokenizer.json");
  EXPECT_EQ(Tokenizer::load(folder.path().string()).end_of_text(), -1);
  const std::string config =
      R"({"bos_token": {"content": "<s>"}, "eos_token": "</s>", "chat_template": "{{ x }}", "y": [1]})";
  write_file_atomically(folder / "tokenizer_config.json", config);
  write_file_atomically(folder / "chat_template.jinja", "{{ messages }}");
  const Tokenizer tokenizer = Tokenizer::load(folder.path().string());
  EXPECT_EQ(tokenizer.end_of_text(), 2);
  EXPECT_EQ(tokenizer.definition().config.bos_token, "<s>");
  std::filesystem::create_directory(folder / "copy");
  tokenizer.save((folder / "copy/tokenizer.json").string());
  EXPECT_EQ(read_file(folder / "copy/tokenizer_config.json"), config);
  EXPECT_EQ(read_file(folder / "copy/chat_template.jinja"), "{{ messages }}");

  const auto error_with_config = [&](const std::string& text) {
    write_file_atomically(folder / "tokenizer_config.json", text);
    return test::error_of([&] { Tokenizer::load(folder.path().string()); });
  };
  EXPECT_THAT(error_with_config(R"({"eos_token": "<end>"})"),
              HasSubstr("eos_token in tokenizer_config.json beside it: expected one of its tokens, got \"<end>\""));
  EXPECT_THAT(
      error_with_config(R"({"eos_token": 2})"),
      HasSubstr("tokenizer_config.json: eos_token: expected a token's text, an object with its content, or null"));
  EXPECT_THAT(error_with_config("{"), HasSubstr("tokenizer_config.json: "));
  EXPECT_EQ(error_with_config(R"({"eos_token": null})"), "");
}

// What Hugging Face tokenizers 0.23.3 gives for such files.
TEST(TokenizerJson, LeavesOutAByteWithoutTokenOrTakesTheUnknownToken) {
  Json root = Json::parse(read_file(kFolder + "byte_level.json"));
  root["model"]["vocab"].erase("þ");
  root["model"]["vocab"].erase("Ą");  // 0x04
  const auto ids = [&](const std::string& text) {
    return Tokenizer(parse_tokenizer_json(root.dump(), "t.json")).encode(text);
  };
  const std::vector<int32_t> plain = ids("ab");
  const int32_t a = plain.at(0), b = plain.at(1), unknown = root["model"]["vocab"]["!"];
  testing::internal::CaptureStderr();
  EXPECT_EQ(ids("a\x04\xfe\x04" "b"), (std::vector<int32_t>{a, b}));
  EXPECT_EQ(ids("\x04"), std::vector<int32_t>{});
  EXPECT_THAT(testing::internal::GetCapturedStderr(),
              HasSubstr("t.json: model.vocab: 2 of the 256 bytes have no token (0x04, 0xfe): they are left out"));
  root["model"]["unk_token"] = "!";
  EXPECT_EQ(ids("a\x04\x04" "b"), (std::vector<int32_t>{a, unknown, unknown, b}));
  root["model"]["fuse_unk"] = true;
  EXPECT_THAT(error_of_text(root.dump()), HasSubstr("(none for 0x04, 0xfe), or fuse_unk false, got true"));
  root["model"]["unk_token"] = "<none>";
  EXPECT_THAT(error_of_text(root.dump()), HasSubstr("or unk_token among them, got unk_token \"<none>\""));
}

TEST(TokenizerJson, RefusesAnAddedTokenThatMergesMakeOfOtherBytes) {
  Json root = Json::parse(read_file(kFolder + "byte_level.json"));
  const int id = root["model"]["vocab"]["Ġthe"];
  root["added_tokens"].push_back({{"id", id}, {"content", "Ġthe"}, {"special", false}});
  EXPECT_THAT(error_of_text(root.dump()),
              HasSubstr("\"Ġthe\": expected a token that is either added or part of words, got one that is both"));
}

TEST(TokenizerJson, SaysWhereItStopsBeingJson) {
  EXPECT_THAT(error_of_text("{\n \"version\": \"1.0\",\n x}"),
              HasSubstr("t.json: line 3, column 2 (byte 22): expected JSON"));
  EXPECT_THAT(error_of_text(""), HasSubstr("t.json: column 1 (byte 0): expected JSON"));
  for (const char* beyond_double : {"{\"a\": 6e611}", "[6e611"})
    EXPECT_THAT(error_of_text(beyond_double), HasSubstr("t.json: expected JSON, got: "));
  EXPECT_EQ(error_of_text("[]"), "t.json: expected an object, got []");
  EXPECT_EQ(error_of_text("{}"), "t.json: model: expected a value, got none");
  EXPECT_THAT(error_of_text(R"({"version": "1.0", "version": "1.0"})"), HasSubstr("version: expected each field once"));
}

TEST(TokenizerJson, DuplicateTokensAreRefused) {
  std::string text = read_file(kFolder + "byte_level.json");
  text.insert(text.find("\"vocab\":{") + 9, "\"!\":9000,");
  EXPECT_THAT(error_of_text(text), HasSubstr("t.json: model.vocab: \"!\": expected each token once, got it twice"));
}

TEST(TokenizerJson, DamagedFilesAreReadOrRefused) {
  Rng rng(1);
  for (const char* const file :
       {"added_tokens.json", "split_whole_words.json", "published/llama3.json", "published/llama2.json"}) {
    const std::string intact = read_file(kFolder + file);
    int refused = 0;
    for (int i = 0; i < 400; ++i) {
      std::string text = intact.substr(0, i % 2 ? intact.size() : rng.below(intact.size()));
      for (uint64_t changes = rng.below(4); changes > 0 && !text.empty(); --changes)
        text[rng.below(text.size())] = "\"{}[]:,0 \xff\\eu"[rng.below(14)];
      try {
        const Tokenizer tokenizer(parse_tokenizer_json(text, "t.json"), "t.json");
        tokenizer.decode(tokenizer.encode("the rain"));
      } catch (const Error& error) {
        ++refused;
        EXPECT_EQ(error.code(), ErrorCode::kData);
        EXPECT_EQ(std::string(error.what()).substr(0, 6), "t.json");
      }
    }
    EXPECT_GT(refused, 200);
  }
}

}  // namespace
}  // namespace troupe
