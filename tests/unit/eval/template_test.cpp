#include "eval/tasks/template.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/rng.h"
#include "error_of.h"

namespace troupe {
namespace {

using Json = nlohmann::json;

const Json kRecord = Json::parse(R"({
  "goal": "boil eggs", "n": 3, "yes": true, "none": null, "half": 0.5,
  "question": {"stem": "Why?", "choices": [{"text": "air", "label": "A"}, {"text": "sun", "label": "B"}]},
  "sentence": "The _ ate _ too.", "text": "Ann saw Bob .", "option": "cat",
  "list": ["b", "a", "b"], "spans": [{"start": 0, "end": 2}, {"start": 8, "end": 10}], "accents": "élan É",
  "at": 4, "to": 6, "blank": " \t", "numbers": [1, 2]
})");

std::string text(const char* source) { return Template(source, "t.toml:1: x").text(kRecord); }
Json value(const char* source) { return Template(source, "t.toml:1: x").value(kRecord); }
std::string bad_template(const char* source) {
  return test::error_of([&] { Template(source, "t.toml:1: x"); }, ErrorCode::kUsage);
}
std::string bad_record(const char* source) {
  return test::error_of([&] { Template(source, "t.toml:1: x").text(kRecord); });
}

TEST(Template, PutsFieldsIntoText) {
  EXPECT_EQ(text("To {goal} {{literally}}"), "To boil eggs {literally}");
  EXPECT_EQ(text("{question.choices.1.text}"), "sun");
  EXPECT_EQ(text(""), "");
}

TEST(Template, KeepsTheValueOfALoneExpression) {
  EXPECT_EQ(value("{question.choices.text}"), Json({"air", "sun"}));
  EXPECT_EQ(value("{n}"), Json(3));
  EXPECT_EQ(Template("{question.choices.label}", "x").texts(kRecord), (std::vector<std::string>{"A", "B"}));
  EXPECT_EQ(Template("{goal}", "x").texts(kRecord), (std::vector<std::string>{"boil eggs"}));
}

TEST(Template, NamesMayBeNumbersAndTextsMayNot) {
  const auto name = [](const char* source) { return Template(source, "x").text(kRecord, Template::Fields::kName); };
  EXPECT_EQ(name("{goal} {n} {yes}"), "boil eggs 3 true");
  EXPECT_EQ(test::error_of([&] { name("{half}"); }), "half: expected text, a whole number, true or false, got 0.5");
  EXPECT_EQ(Template("{numbers}", "x").texts(kRecord, Template::Fields::kName), (std::vector<std::string>{"1", "2"}));
  EXPECT_EQ(bad_record("{n}"), "n: expected text, got 3");
  EXPECT_EQ(bad_record("{yes}"), "yes: expected text, got true");
  EXPECT_EQ(bad_record("{n|strip}"), "n: strip: expected text, got 3");
  EXPECT_EQ(test::error_of([] { Template("{numbers}", "x").texts(kRecord); }), "numbers[0]: expected text, got 1");
}

TEST(Template, FieldsOfAContextAreNotBlank) {
  const auto filled = [](const char* source) {
    return test::error_of([&] { Template(source, "x").text(kRecord, Template::Fields::kFilled); });
  };
  EXPECT_EQ(filled("{blank}"), "blank: expected text, got an empty one");
  EXPECT_EQ(filled("{blank|prefix(\"x\")}"), "blank: expected text, got an empty one");
  EXPECT_EQ(filled("{goal|before(\"boil\")}"), "");
  EXPECT_EQ(text("<{blank}>"), "< \t>");
}

TEST(Template, FiltersDoWhatTheirHelpSays) {
  EXPECT_EQ(text(R"({sentence|before("_")}{option}{sentence|after("_")})"), "The cat ate _ too.");
  EXPECT_EQ(text(R"({sentence|before_last("_")}|{sentence|after_last("_")})"), "The _ ate | too.");
  EXPECT_EQ(text(R"({goal|before_last("x")}|{goal|after_last("x")})"), "|boil eggs");
  EXPECT_EQ(text("{goal|capitalize} {goal|upper} {accents|capitalize} {accents|upper_first} {accents|lower}"),
            "Boil eggs BOIL EGGS Élan é Élan É élan é");
  EXPECT_EQ(text(R"({goal|lower_first|drop_last|ensure_end("g")|ensure_end("!")})"), "boil egg!");
  EXPECT_EQ(text(R"({goal|replace("g", "GG")|prefix("<")|suffix(">")})"), "<boil eGGGGs>");
  EXPECT_EQ(value(R"({list|unique|sort})"), Json({"a", "b"}));
  EXPECT_EQ(text(R"({list|rest|join("+")}, {list|first})"), "a+b, b");
  EXPECT_EQ(value(R"({goal|split(" ")})"), Json({"boil", "eggs"}));
  EXPECT_EQ(text(R"({goal|part(" ", 1)})"), "eggs");
  EXPECT_EQ(value("{spans|spans(text)}"), Json({"Ann", "Bob"}));
  EXPECT_EQ(text("{text|slice(at, to)}"), "sa");
  EXPECT_EQ(value(R"({list|unique|fill(sentence, "_")})"), Json({"The b ate b too.", "The a ate a too."}));
  EXPECT_EQ(text(R"({n|map("2", "two", "3", "three")})"), "three");
  EXPECT_EQ(text(R"({goal|prefix(" [a] ")|remove_brackets|strip})"), "boil eggs");
  EXPECT_EQ(text("{text|detokenize}"), "Ann saw Bob.");
  EXPECT_EQ(text(R"({text|mark_word(1, "saw")})"), "Ann *saw* Bob .");
  EXPECT_EQ(text(R"({text|first_word_among("bob", "saw")|capitalize})"), "Saw");
}

TEST(Template, FiltersReadTextAsPythonDoes) {
  const auto of = [](const char* filters, const char* value) {
    return Template(fmt::format("{{x|{}}}", filters), "x").text(Json{{"x", value}});
  };
  EXPECT_EQ(of("strip", "\u3000a\u00a0"), "a");
  EXPECT_EQ(of("capitalize", "\u00dfA"), "Ssa");
  EXPECT_EQ(of("upper_first", "\ufb01N"), "FIN");
  EXPECT_EQ(of("lower", "\u039f\u0394\u039f\u03a3"), "\u03bf\u03b4\u03bf\u03c2");
  EXPECT_EQ(of("mark_word(1, \"saw\")", "Ann\u00a0saw Bob"), "Ann *saw* Bob");
  EXPECT_EQ(of("first_word_among(\"he\", \"she\")", "\u00e9he\u2014she"), "she");
  EXPECT_EQ(of("first_word_among(\"he\", \"she\")", "The technician told the customer that he could pay."), "he")
      << "a text that does not fit into a std::string itself";
}

TEST(Template, RefusesWhatIsOutsideTheGrammar) {
  EXPECT_EQ(bad_template("{goal"), "t.toml:1: x: expected | or }, got the end (at character 6 of \"{goal\")");
  EXPECT_EQ(bad_template("{}"), "t.toml:1: x: expected a name, got \"}\" (at character 2 of \"{}\")");
  EXPECT_EQ(bad_template("a } b"), "t.toml:1: x: expected }} for a literal brace, got } (at character 3 of \"a } b\")");
  EXPECT_EQ(bad_template("{goal|stripp}"), "t.toml:1: x: expected a filter, got stripp (did you mean strip?)");
  EXPECT_EQ(bad_template("{goal|replace(\"a\")}"), "t.toml:1: x: replace: expected 2 arguments, got 1");
  EXPECT_EQ(bad_template("{goal|prefix(\"a)}"),
            "t.toml:1: x: expected a closing quote, got the end (at character 18 of \"{goal|prefix(\"a)}\")");
}

TEST(Template, NamesTheFieldThatARecordLacks) {
  EXPECT_EQ(bad_record("{gaol}"), "gaol: expected this field, got a record without it (nearest: goal)");
  EXPECT_EQ(bad_record("{question.stom}"),
            "question.stom: expected this field, got a record without it (nearest: stem)");
  EXPECT_EQ(bad_record("{question}!"), "question: expected text, got object");
  EXPECT_EQ(bad_record("{none}"), "none: expected text, got null");
  EXPECT_EQ(bad_record("{half}"), "half: expected text, got 0.5");
  EXPECT_EQ(bad_record("{goal.x}"), "goal.x: expected an object around x, got string");
  EXPECT_EQ(bad_record("{list.3}"), "list.3: expected at least 4 elements, got 3");
  EXPECT_EQ(bad_record(R"({goal|before("_")})"), "goal: before: expected \"_\" in the text, got \"boil eggs\"");
  EXPECT_EQ(bad_record(R"({goal|map("a", "b")})"), "goal: map: expected one of a, got \"boil eggs\"");
  EXPECT_EQ(bad_record("{text|slice(at, 99)}"),
            "text: slice: expected a range in a text of 13 characters, got 4 to 99");
  EXPECT_EQ(bad_record("{text|slice(to, at)}"), "text: slice: expected a range in a text of 13 characters, got 6 to 4");
  EXPECT_EQ(bad_record("{goal|first}"), "goal: first: expected a list, got string");
  EXPECT_EQ(bad_record("{spans|spans(goal)}"), "spans: spans: expected a range in a text of 9 characters, got [8, 10]");
}

TEST(Template, MutatedSourcesParseOrGiveOneError) {
  const std::string source =
      R"({sentence|before("_")|strip}{option} {list|fill(sentence, "_")|join(" ")|slice(0, 5)}{{x}})";
  Rng rng(1);
  for (int round = 0; round < 5000; ++round) {
    std::string mutated = source;
    for (uint64_t i = rng.below(3) + 1; i-- > 0;)
      mutated[rng.below(mutated.size())] = "{}|()\",.\\ ab0-"[rng.below(14)];
    if (rng.below(5) == 0) mutated.resize(rng.below(mutated.size()));
    try {
      Template(mutated, "x").value(kRecord);
    } catch (const Error& error) {
      EXPECT_NE(error.code(), ErrorCode::kInternal);
    }
  }
}

}  // namespace
}  // namespace troupe
