#include <fmt/ranges.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <random>

#include "io/config_reference.h"
#include "io/json_config.h"
#include "io/toml_config.h"

namespace troupe {

enum class Shade { kLight, kDark };
template <>
struct EnumNames<Shade> {
  static constexpr std::array<std::pair<std::string_view, Shade>, 2> values = {
      {{"light", Shade::kLight}, {"dark", Shade::kDark}}};
};

namespace {

using ::testing::HasSubstr;

struct Inner {
  int64_t count = 3;
  double rate = 0.1;
  template <class V>
  void fields(V& v) {
    v("count", count, range(0, 64), "how many");
    v("rate", rate, at_least(0), "per second");
  }
};

struct Outer {
  bool flag = false;
  std::string name = "x";
  Inner inner;
  Shade shade = Shade::kLight;
  std::vector<std::string> list = {"a"};
  template <class V>
  void fields(V& v) {
    v("flag", flag, any_value(), "a switch");
    v("name", name, any_value(), "a name");
    v("inner", inner);
    v("shade", shade, any_value(), "a shade");
    v("list", list, any_value(), "some names");
  }
};

struct Rates {
  std::vector<double> lr = {0.5};
  template <class V>
  void fields(V& v) {
    v("lr", lr, range(0, 10), "rates");
  }
};

struct Talk {
  std::vector<std::string> openings;
  template <class V>
  void fields(V& v) {
    v("openings", openings, Sentences{}, "of a talk");
  }
};

Outer read(const std::string& text) {
  Outer config;
  FieldList fields = fields_of(config);
  read_config_text(text, "x.toml", ".", fields);
  return config;
}

std::string error_of(const std::function<void()>& action, ErrorCode code = ErrorCode::kUsage) {
  try {
    action();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code) << error.what();
    return error.what();
  }
  return "no error";
}

std::string error_in(const std::string& text) {
  return error_of([&] { read(text); });
}

std::string override_error(const std::string& text) {
  return error_of([&] {
    Outer config;
    FieldList fields = fields_of(config);
    apply_override(text, fields);
  });
}

class ConfigFiles : public ::testing::Test {
 protected:
  ConfigFiles() : folder_(std::filesystem::path(::testing::TempDir()) / "troupe_config_test") {
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_ / "sub");
  }
  ~ConfigFiles() override { std::filesystem::remove_all(folder_); }
  std::filesystem::path write(const std::string& name, const std::string& text) {
    std::ofstream(folder_ / name) << text;
    return folder_ / name;
  }
  std::filesystem::path folder_;
};

TEST(TomlConfig, ReadsEveryKindAndKeepsWhatIsNotMentioned) {
  const Outer config = read("flag = true\nname = \"n\"\nshade = \"dark\"\nlist = [\"b\", \"c\"]\n[inner]\nrate = 2\n");
  EXPECT_TRUE(config.flag);
  EXPECT_EQ(config.name, "n");
  EXPECT_EQ(config.shade, Shade::kDark);
  EXPECT_THAT(config.list, ::testing::ElementsAre("b", "c"));
  EXPECT_EQ(config.inner.rate, 2.0);
  EXPECT_EQ(config.inner.count, 3);
}

TEST(TomlConfig, TakesWholeNumbersWrittenAsFloats) {
  EXPECT_EQ(read("[inner]\ncount = 6e1\n").inner.count, 60);
  EXPECT_THAT(error_in("[inner]\ncount = 1.5\n"), HasSubstr("expected a whole number in [0, 64], got 1.5"));
}

TEST(TomlConfig, NamesFileLineFieldAndRange) {
  EXPECT_EQ(error_in("flag = true\n\n[inner]\ncount = \"12\"\n"),
            "x.toml:4: inner.count: expected a whole number in [0, 64], got \"12\"");
  EXPECT_EQ(error_in("[inner]\ncount = 65"), "x.toml:2: inner.count: expected a whole number in [0, 64], got 65");
  EXPECT_EQ(error_in("[inner]\nrate = -1"), "x.toml:2: inner.rate: expected a number of at least 0, got -1");
  EXPECT_EQ(error_in("[inner]\nrate = nan"), "x.toml:2: inner.rate: expected a number of at least 0, got nan");
  EXPECT_EQ(error_in("[inner]\nrate = inf"), "x.toml:2: inner.rate: expected a number of at least 0, got inf");
  EXPECT_EQ(error_in("flag = 1"), "x.toml:1: flag: expected true or false, got 1");
  EXPECT_EQ(error_in("name = 1979-05-27"), "x.toml:1: name: expected a string, got 1979-05-27");
  EXPECT_EQ(error_in("list = \"a\""), "x.toml:1: list: expected a list of strings, got \"a\"");
  EXPECT_EQ(error_in("list = [\"a\", 2]"), "x.toml:1: list: expected a list of strings, got a list with 2");
  EXPECT_EQ(error_in("inner = 3"), "x.toml:1: inner: expected a table, got 3");
  EXPECT_EQ(error_in("[name]\nx = 1"), "x.toml:1: name: expected a string, got a table");
}

// One number is a list of one, whole numbers are numbers; and back, from TOML and JSON.
TEST(TomlConfig, ReadsListsOfNumbers) {
  const auto lr = [](const std::string& text, const std::string& override_text = {}) {
    Rates rates;
    FieldList fields = fields_of(rates);
    read_config_text(text, "x.toml", ".", fields);
    if (!override_text.empty()) apply_override(override_text, fields);
    Rates again, from_file;
    FieldList of_again = fields_of(again), of_file = fields_of(from_file);
    read_config_text(to_toml(fields), "again", ".", of_again);
    from_json(to_json(fields), "again", of_file);
    EXPECT_EQ(again.lr, rates.lr);
    EXPECT_EQ(from_file.lr, rates.lr);
    return rates.lr;
  };
  EXPECT_EQ(lr(""), std::vector<double>{0.5});
  EXPECT_EQ(lr("lr = 1e-3"), std::vector<double>{1e-3});
  EXPECT_EQ(lr("lr = [1, 2.5, 3e-5]"), (std::vector<double>{1, 2.5, 3e-5}));
  EXPECT_EQ(lr("lr = [1, 2]"), (std::vector<double>{1, 2}));
  EXPECT_EQ(lr("lr = []"), std::vector<double>{});
  EXPECT_EQ(lr("", "lr=1e-4,2"), (std::vector<double>{1e-4, 2}));
  for (const char* text : {"lr = \"a\"", "lr = [1.5, \"a\"]", "lr = [11.0]", "lr = [nan]"})
    EXPECT_THAT(error_of([&] { lr(text); }),
                HasSubstr("x.toml:1: lr: expected a number or a list of numbers in [0, 10], got")) << text;
}

TEST(TomlConfig, NamesTheNearestKeyAndTheValidNames) {
  EXPECT_EQ(error_in("[inner]\ncuont = 1"),
            "x.toml:2: inner.cuont: expected a known key, got this one (did you mean inner.count?)");
  EXPECT_EQ(error_in("[outer]\n"), "x.toml:1: outer: expected a known key, got this one (did you mean name?)");
  EXPECT_EQ(error_in("shade = \"drak\""),
            "x.toml:1: shade: expected one of light, dark, got \"drak\" (did you mean dark?)");
}

TEST(TomlConfig, NamesTheLineOfBrokenToml) {
  EXPECT_THAT(error_in("flag = true\nname = \n"), HasSubstr("x.toml:2: expected TOML, got: "));
  EXPECT_THAT(error_in("flag = true\nflag = false\n"), HasSubstr("x.toml:2: expected TOML, got: "));
}

TEST(TomlConfig, OverridesNeedNoQuotesAndAreNamedInErrors) {
  Outer config;
  FieldList fields = fields_of(config);
  for (const char* text : {"name=a=b c", "shade=dark", "inner.count=7", "inner.count=8", "flag=true", "list=[\"q\"]"})
    apply_override(text, fields);
  EXPECT_EQ(config.name, "a=b c");
  EXPECT_EQ(config.shade, Shade::kDark);
  EXPECT_EQ(config.inner.count, 8);
  EXPECT_THAT(config.list, ::testing::ElementsAre("q"));
  apply_override("list=a=data/b", fields);  // a list of one
  EXPECT_THAT(config.list, ::testing::ElementsAre("a=data/b"));
  EXPECT_EQ(fields.find("inner.count")->origin, "--set");
  EXPECT_EQ(fields.find("inner.rate")->origin, "default");

  EXPECT_EQ(override_error("inner.count=many"),
            "--set inner.count=many: inner.count: expected a whole number in [0, 64], got many");
  EXPECT_EQ(override_error("inner.count="),
            "--set inner.count=: inner.count: expected a whole number in [0, 64], got nothing");
  EXPECT_EQ(override_error("inner.count=99"),
            "--set inner.count=99: inner.count: expected a whole number in [0, 64], got 99");
  EXPECT_EQ(override_error("count=1"),
            "--set count=1: count: expected a known key, got this one (did you mean inner.count?)");
  EXPECT_THAT(override_error("inner=1"), HasSubstr("inner: expected one key, got a table"));
  EXPECT_EQ(override_error("flag"), "--set flag: expected key=value, got no '='");
  EXPECT_EQ(override_error("=1"), "--set =1: expected key=value, got no key");
  EXPECT_THAT(override_error("inner.count=1\nflag=true"), HasSubstr("expected a whole number in [0, 64]"));
}

TEST(TomlConfig, AnOverrideOfSeveralTextsSaysHowTheyAreWritten) {
  EXPECT_EQ(override_error("list=a=1,b=2"),
            "--set list=a=1,b=2: list: expected a list of strings, got a=1,b=2 (write --set 'list=[\"a=1\", \"b=2\"]', "
            "or one text with a comma: --set 'list=[\"a=1,b=2\"]')");
  EXPECT_THAT(override_error("list=[a=1, 'b=2']"),  // a shell took the quotes
              HasSubstr("got [a=1, 'b=2'] (write --set 'list=[\"a=1\", \"b=2\"]')"));
  EXPECT_EQ(override_error("list="), "--set list=: list: expected a list of strings, got nothing");
  Outer config;
  FieldList fields = fields_of(config);
  for (const char* text : {"list=[\"a=1\", \"b=2\"]", "list=\"a=1\",\"b=2\""}) {
    apply_override(text, fields);
    EXPECT_THAT(config.list, ::testing::ElementsAre("a=1", "b=2")) << text;
  }
  Talk talk;
  FieldList of_talk = fields_of(talk);
  apply_override("openings=Well, yes", of_talk);
  EXPECT_THAT(talk.openings, ::testing::ElementsAre("Well, yes"));
}

TEST(TomlConfig, AnOverrideOfNoNumberIsNotAnEmptyList) {
  Rates config;
  FieldList fields = fields_of(config);
  EXPECT_EQ(error_of([&] { apply_override("lr=", fields); }),
            "--set lr=: lr: expected a number or a list of numbers in [0, 10], got nothing");
}

TEST_F(ConfigFiles, BasesAreReadFirstAndRelativeToTheFile) {
  write("base.toml", "name = \"base\"\n[inner]\ncount = 1\nrate = 5.0\n");
  const auto path = write("sub/x.toml", "base = \"../base.toml\"\n[inner]\ncount = 2\n");
  Outer config;
  FieldList fields = fields_of(config);
  read_config(path, {"inner.rate=6"}, fields);
  EXPECT_EQ(config.name, "base");
  EXPECT_EQ(config.inner.count, 2);
  EXPECT_EQ(config.inner.rate, 6.0);
  EXPECT_THAT(fields.find("name")->origin, HasSubstr("base.toml:1"));
  EXPECT_EQ(fields.find("inner.count")->origin, path.string() + ":3");
  const Outer loaded = load_config<Outer>(path);
  EXPECT_EQ(loaded.inner.rate, 5.0);
}

TEST_F(ConfigFiles, RefusesBasesThatEndNowhere) {
  const auto a = write("a.toml", "base = \"b.toml\"\n");
  const auto b = write("b.toml", "\nbase = \"a.toml\"\n");
  EXPECT_EQ(error_of([&] { load_config<Outer>(a); }),
            b.string() + ":2: base: " + a.string() + ": expected bases to end, got a file that is based on itself");
  const auto c = write("c.toml", "base = \"none.toml\"\n");
  EXPECT_EQ(error_of([&] { load_config<Outer>(c); }), c.string() + ":1: base: " + (folder_ / "none.toml").string() +
                                                          ": expected a configuration file, got nothing of that name");
  const auto d = write("d.toml", "base = 3\n");
  EXPECT_EQ(error_of([&] { load_config<Outer>(d); }),
            d.string() + ":1: base: expected the path of a configuration file, got 3");
  EXPECT_THAT(error_of([&] { load_config<Outer>(folder_); }), HasSubstr("expected a configuration file, got a folder"));
}

TEST(TomlConfig, WritesWhatItReads) {
  Outer config;
  config.flag = true;
  config.name = "quote \" slash \\ line\nbell \a é";
  config.shade = Shade::kDark;
  config.list = {};
  config.inner = {.count = 9, .rate = 1e-300};
  const std::string text = to_toml(fields_of(std::as_const(config)));
  const Outer again = read(text);
  EXPECT_EQ(to_toml(fields_of(again)), text);
  EXPECT_EQ(again.name, config.name);
  EXPECT_THAT(differences(fields_of(config), fields_of(again), "a", "b"), ::testing::IsEmpty());
  const Outer plain;
  EXPECT_THAT(differences(fields_of(config), fields_of(plain), "a", "b"),
              ::testing::Contains("inner.count: 9 in a, 3 in b"));
}

TEST(TomlConfig, TakesOnlyTextThatCanBeWritten) {
  Outer config;
  FieldList fields = fields_of(config);
  EXPECT_EQ(error_of([&] { apply_override("name=a\xff", fields); }, ErrorCode::kUsage),
            "--set name=a\xff: name: expected a string, got \"a\xff\" (not UTF-8, as files of configurations must be)");
  EXPECT_EQ(error_of([&] { apply_override("list=a\xff", fields); }, ErrorCode::kUsage),
            "--set list=a\xff: list: expected a list of strings, got \"a\xff\" (not UTF-8, as files of configurations "
            "must be)");
  apply_override("name=\xe4\xb8\xad", fields);
  EXPECT_EQ(config.name, "\xe4\xb8\xad");
}

TEST(TomlConfig, PutsTheKeysOfATableBeforeItsTables) {
  EXPECT_EQ(
      to_toml(fields_of(Outer{}), Origins::kShow),
      "flag = false  # default\nname = \"x\"  # default\nshade = \"light\"  # default\nlist = [\"a\"]  # default\n"
      "\n[inner]\ncount = 3  # default\nrate = 0.1  # default\n");
}

TEST(ConfigReference, HasEveryFieldWithTypeDefaultValuesAndMeaning) {
  const Outer defaults;
  EXPECT_EQ(to_markdown(fields_of(defaults)),
            "## Top level\n\n| key | type | default | values | meaning |\n|---|---|---|---|---|\n"
            "| `flag` | boolean | `false` |  | a switch |\n"
            "| `name` | string | `\"x\"` |  | a name |\n"
            "| `shade` | name | `\"light\"` | `light`, `dark` | a shade |\n"
            "| `list` | strings | `[\"a\"]` |  | some names |\n"
            "\n## `[inner]`\n\n| key | type | default | values | meaning |\n|---|---|---|---|---|\n"
            "| `count` | integer | `3` | 0 to 64 | how many |\n"
            "| `rate` | float | `0.1` | ≥ 0 | per second |\n");
}

TEST(JsonConfig, RoundTripsInTheOrderOfTheStruct) {
  Outer config;
  config.shade = Shade::kDark;
  config.inner.rate = 0.3;
  const nlohmann::ordered_json json = to_json(fields_of(std::as_const(config)));
  EXPECT_EQ(json.dump(), R"({"flag":false,"name":"x","inner":{"count":3,"rate":0.3},"shade":"dark","list":["a"]})");
  Outer again;
  FieldList fields = fields_of(again);
  from_json(nlohmann::json::parse(json.dump()), "config.json", fields);
  EXPECT_THAT(differences(fields_of(config), fields, "a", "b"), ::testing::IsEmpty());
}

// Lists say the same in both kinds of file.
TEST(JsonConfig, ReadsListsAsTomlDoes) {
  const auto both = [](const std::string& list) {
    Rates of_json, of_toml;
    FieldList json = fields_of(of_json), toml = fields_of(of_toml);
    const auto answer = [](const std::string& where, const std::vector<double>& lr, const auto& read) {
      try {
        read();
      } catch (const Error& error) {
        return std::string(error.what()).substr(where.size());
      }
      return fmt::format("{}", fmt::join(lr, " "));
    };
    const std::string a = answer("x.json", of_json.lr, [&] {
      from_json(nlohmann::json::parse("{\"lr\": " + list + "}"), "x.json", json);
    });
    EXPECT_EQ(answer("x.toml:1", of_toml.lr, [&] { read_config_text("lr = " + list, "x.toml", ".", toml); }), a);
    return a;
  };
  EXPECT_EQ(both("[1, 2]"), "1 2");
  EXPECT_EQ(both("[1, 2.5]"), "1 2.5");
  EXPECT_EQ(both("[]"), "");
  const std::string expected = ": lr: expected a number or a list of numbers in [0, 10], got ";
  EXPECT_EQ(both("[1, 11]"), expected + "[1, 11]");
  EXPECT_EQ(both("[0.5, 11]"), expected + "[0.5, 11]");
  EXPECT_EQ(both("[\"a\"]"), expected + "a list");
  EXPECT_EQ(both("[0.5, \"a\"]"), expected + "a list with \"a\"");
  EXPECT_EQ(both("[\"a\", 1]"), expected + "a list with 1");
  EXPECT_EQ(both("[true]"), expected + "a list with true");
  EXPECT_EQ(both("[[1]]"), expected + "a list with a list");
}

TEST(JsonConfig, NamesTheField) {
  const auto error_in_json = [](const char* text) {
    return error_of(
        [&] {
          Outer config;
          FieldList fields = fields_of(config);
          from_json(nlohmann::json::parse(text), "config.json", fields);
        },
        ErrorCode::kData);
  };
  EXPECT_EQ(error_in_json(R"({"inner":{"count":"12"}})"),
            "config.json: inner.count: expected a whole number in [0, 64], got \"12\"");
  EXPECT_EQ(error_in_json(R"({"inner":{"count":18446744073709551615}})"),
            "config.json: inner.count: expected a whole number in [0, 64], got 18446744073709551615");
  EXPECT_EQ(error_in_json(R"({"inner":{"cuont":1}})"),
            "config.json: inner.cuont: expected a known key, got this one (did you mean inner.count?)");
  EXPECT_EQ(error_in_json(R"({"inner":[]})"), "config.json: inner: expected an object, got a list");
  EXPECT_EQ(error_in_json(R"({"flag":null})"), "config.json: flag: expected true or false, got null");
  EXPECT_EQ(error_in_json("[]"), "config.json: expected an object, got a list");
}

// Truncated and mutated files: an error that names the file, or a configuration within its ranges.
TEST(TomlConfig, SurvivesBrokenBytes) {
  const std::string whole =
      "flag = true\nname = \"n\\u00e9\"\nlist = [\"b\", 'c']\n[inner]\nrate = 2.5e-3\ncount = 0x10\n";
  std::mt19937 random(1);
  const auto try_text = [](const std::string& text) {
    try {
      const Outer config = read(text);
      EXPECT_TRUE(config.inner.count >= 0 && config.inner.count <= 64);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kUsage);
      EXPECT_EQ(std::string(error.what()).rfind("x.toml:", 0), 0u) << error.what();
    }
  };
  for (size_t size = 0; size < whole.size(); ++size) try_text(whole.substr(0, size));
  for (int round = 0; round < 2000; ++round) {
    std::string text = whole;
    for (int change = 0; change < 3; ++change) text[random() % text.size()] = static_cast<char>(random() % 256);
    try_text(text);
  }
}

}  // namespace
}  // namespace troupe
