#include "io/json_fields.h"

#include <gtest/gtest.h>

#include <cmath>

#include "error_of.h"
#include "io/json_file.h"
#include "io/json_text.h"

namespace troupe {
enum class Colour { kRed, kBlue };
template <>
struct EnumNames<Colour> {
  static constexpr std::pair<std::string_view, Colour> values[] = {{"red", Colour::kRed}, {"blue", Colour::kBlue}};
};
namespace {

struct Inner {
  std::vector<int64_t> load;
  template <class V>
  void fields(V& v) {
    v("load", load);
  }
};

struct Line {
  int64_t step = 0;
  uint64_t seed = 0;
  double loss = 0;
  bool held_out = false;
  std::string name;
  Colour colour = Colour::kRed;
  std::optional<std::string> group;
  std::tuple<double, int64_t> pair;
  std::vector<Inner> layers;
  int64_t later = 7;
  std::string note;

  template <class V>
  void fields(V& v) {
    v.constant("schema", "line/1");
    v.count("step", step), v("seed", seed), v("loss", loss), v("held_out", held_out), v("name", name);
    v("colour", colour), v("group", group), v("pair", pair), v("layers", layers);
    v.may_lack("later", later), v.unless_empty("note", note);
  }
};

const std::string kText =
    R"({"schema":"line/1","step":3,"seed":18446744073709551615,"loss":null,"held_out":true,"name":"a\"b","colour":"blue",)"
    R"("group":null,"pair":[0.5,-1],"layers":[{"load":[1,2]},{"load":[]}],"later":8})";

Line read(const std::string& text) {
  Line line;
  read_json_fields(parse_json(text, "f:2"), "f:2", line);
  return line;
}

std::string error_with(std::string_view from, std::string_view to) {
  std::string text = kText;
  EXPECT_NE(text.find(from), text.npos) << from;
  text.replace(text.find(from), from.size(), to);
  return test::error_of([&] { read(text); });
}

TEST(JsonFields, WriteWhatTheyRead) {
  const Line line = read(kText);
  EXPECT_EQ(line.step, 3);
  EXPECT_EQ(line.seed, UINT64_MAX);
  EXPECT_TRUE(std::isnan(line.loss));
  EXPECT_EQ(line.colour, Colour::kBlue);
  EXPECT_FALSE(line.group);
  EXPECT_EQ(line.pair, std::tuple(0.5, -1));
  ASSERT_EQ(line.layers.size(), 2u);
  EXPECT_EQ(line.layers[0].load, (std::vector<int64_t>{1, 2}));
  EXPECT_EQ(json_text(json_of(line)), kText) << "keys in the order of the members, an empty note left out";
}

TEST(JsonFields, PassOverKeysOfOthersAndKeepWhatOldFilesLack) {
  EXPECT_EQ(error_with(",\"later\":8", ",\"others\":[]"), "");
  std::string text = kText;
  text.resize(text.find(",\"later\""));
  EXPECT_EQ(read(text + "}").later, 7);
}

TEST(JsonFields, NameThePlaceOfWhatIsWrong) {
  EXPECT_EQ(test::error_of([] { read("[]"); }), "f:2: expected a JSON object, got []");
  EXPECT_EQ(error_with("line/1", "line/2"), "f:2: schema: expected line/1, got \"line/2\"");
  EXPECT_EQ(error_with("\"step\":3,", ""), "f:2: step: expected a value, got no such key");
  for (const char* wrong : {"-1", "1.5", "null", "\"3\"", "1e18", "9223372036854775807"})
    EXPECT_EQ(error_with("\"step\":3", std::string("\"step\":") + wrong).rfind("f:2: step: expected a count, got ", 0), 0u)
        << wrong;
  EXPECT_EQ(error_with("18446744073709551615", "-1"), "f:2: seed: expected a whole number of at least 0, got -1");
  EXPECT_EQ(error_with("\"loss\":null", "\"loss\":\"x\""), "f:2: loss: expected a number, got \"x\"");
  EXPECT_EQ(error_with("true", "1"), "f:2: held_out: expected true or false, got 1");
  EXPECT_EQ(error_with("\"blue\"", "\"green\""), "f:2: colour: expected one of red, blue, got \"green\"");
  EXPECT_EQ(error_with("\"group\":null", "\"group\":3"), "f:2: group: expected a string, got 3");
  EXPECT_EQ(error_with("[0.5,-1]", "[0.5]"), "f:2: pair: expected a list of 2, got [0.5]");
  EXPECT_EQ(error_with("[0.5,-1]", "[0.5,0.5]"), "f:2: pair[1]: expected a whole number, got 0.5");
  EXPECT_EQ(error_with("[1,2]", "[1,[]]"), "f:2: layers[0].load[1]: expected a whole number, got []");
  EXPECT_EQ(error_with("{\"load\":[]}", "7"), "f:2: layers[1]: expected a JSON object, got 7");
}

}  // namespace
}  // namespace troupe
