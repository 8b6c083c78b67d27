#include "eval/tasks/records.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/rng.h"
#include "error_of.h"

namespace troupe {
namespace {

using Json = nlohmann::json;

std::vector<Json> values(std::string_view text, const RecordOptions& options) {
  std::vector<Json> list;
  for (const Record& record : parse_records(text, "f", options)) list.push_back(*record.value);
  return list;
}
std::string error(std::string_view text, const RecordOptions& options) {
  return test::error_of([&] { parse_records(text, "f", options); });
}

const RecordOptions kJsonl = {.format = RecordFormat::kJsonl};
const RecordOptions kCsv = {.format = RecordFormat::kCsv};
const RecordOptions kTsv = {.format = RecordFormat::kTsv};
const RecordOptions kXml = {.format = RecordFormat::kCopaXml};

TEST(Records, JsonLinesKeepTheirLineNumbers) {
  const auto records = parse_records("{\"a\": 1}\r\n\n{\"a\": \"ü\"}", "dev.jsonl", kJsonl);
  ASSERT_EQ(records.size(), 2u);
  EXPECT_EQ(records[1].where, "dev.jsonl:3");
  EXPECT_EQ((*records[1].value)["a"], "ü");
}

TEST(Records, JsonLinesNameTheLineThatIsBroken) {
  EXPECT_EQ(error("{\"a\": 1}\n[1]\n", kJsonl), "f:2: expected a JSON object, got array");
  EXPECT_EQ(error("{\"a\": 1}\n{\"a\": \xff}\n", kJsonl),
            "f:2: expected UTF-8 text, got byte 0xff at byte 7 of the line");
  EXPECT_EQ(error("{\"a\": 1}\n{\"a\": }\n", kJsonl).substr(0, 4), "f:2:");
  EXPECT_NE(error("{\"a\": 1, \"a\": 2}\n", kJsonl), "");
}

TEST(Records, CsvHasQuotesAndTsvHasNot) {
  EXPECT_EQ(values("id,text\n1,\"a, \"\"b\"\"\nc\"\n2,d\n", kCsv),
            (std::vector<Json>{{{"id", "1"}, {"text", "a, \"b\"\nc"}}, {{"id", "2"}, {"text", "d"}}}));
  EXPECT_EQ(values("sentence\tlabel\n\"quoted , text\t1\r\n", kTsv),
            (std::vector<Json>{{{"sentence", "\"quoted , text"}, {"label", "1"}}}));
  EXPECT_EQ(values(",x\n0,y\n", kCsv), (std::vector<Json>{{{"", "0"}, {"x", "y"}}}));
  EXPECT_EQ(parse_records("a,b\n1,\"x\ny\"\n3,4\n", "f", kCsv)[1].where, "f:4");
}

TEST(Records, TablesNameTheLineThatIsBroken) {
  EXPECT_EQ(error("a,b\n1,2\n3\n", kCsv), "f:3: expected 2 columns (as in the header), got 1");
  EXPECT_EQ(error("a,b\n1,2\n3,\"4\n", kCsv), "f:3: expected a closing quote, got the end of the file");
  EXPECT_EQ(error("a,b\n1,\"2\"x\n", kCsv),
            "f:2: expected a separator after the closing quote, got \"x\" (the quote was opened in line 2)");
  EXPECT_EQ(error("a,a\n1,2\n", kCsv), "f:1: expected columns of different names, got \"a\" twice");
}

TEST(Records, NestedListsBecomeRecords) {
  const std::string line =
      R"({"passage": {"text": "P", "questions": [{"q": 1, "answers": [{"t": "x"}, {"t": "y"}]}, {"q": 2, "answers": []}]}})";
  const RecordOptions options = {.expand = {"passage.questions", "passage.questions.answers"}};
  const auto records = parse_records(line, "f", options);
  ASSERT_EQ(records.size(), 2u);
  EXPECT_EQ(records[1].value->dump(), R"({"passage":{"questions":{"answers":{"t":"y"},"q":1},"text":"P"}})");
  EXPECT_EQ(records[1].where, "f:1: passage.questions[0]: passage.questions.answers[1]");
  EXPECT_EQ(error("{\"passage\": 1}", options), "f:1: passage.questions: expected a list, got none");
}

TEST(Records, AJsonDocumentHoldsThemInAList) {
  const RecordOptions options = {.format = RecordFormat::kJson, .each = "data.intra"};
  const auto records = parse_records(R"({"data": {"intra": [{"id": 1}, {"id": 2}]}})", "dev.json", options);
  ASSERT_EQ(records.size(), 2u);
  EXPECT_EQ(records[1].where, "dev.json: data.intra[1]");
  EXPECT_EQ(error(R"({"data": {}})", options), "f: data.intra: expected a list of records, got none");
  EXPECT_EQ(error("[]", options), "f: data.intra: expected a list of records, got none");
  EXPECT_EQ(error("{\"a\": 1}", {.format = RecordFormat::kJson}), "f: expected a list of records, got object");
  EXPECT_EQ(error(R"({"data": {"intra": []}})", options), "f: expected at least one record, got none");
  EXPECT_EQ(error(R"({"data": {"intra": [1]}})", options), "f: data.intra[0]: expected an object, got number");
}

TEST(Records, ColumnsAreRenamed) {
  const RecordOptions options = {.rename = {{"gold_label", "label"}}};
  EXPECT_EQ(values(R"({"gold_label": "x"})", options), (std::vector<Json>{{{"label", "x"}}}));
  EXPECT_EQ(error(R"({"label": "x"})", options), "f:1: gold_label: expected this field, got a record without it");
}

TEST(Records, LabelFilesGoLineByLine) {
  auto records = parse_records("{}\n{}\n", "f", kJsonl);
  add_labels("1\n0\n", "f.lst", records);
  EXPECT_EQ((*records[0].value)["label"], "1");
  EXPECT_EQ(test::error_of([&] { add_labels("1\n", "f.lst", records); }),
            "f.lst: expected 2 labels, one per record, got 1");
  EXPECT_EQ(test::error_of([&] { add_labels("1\n0\n1\n", "f.lst", records); }),
            "f.lst:3: expected 2 labels, one per record, got more");
  EXPECT_EQ(test::error_of([&] { add_labels("1\n\n", "f.lst", records); }),
            "f.lst:2: expected a label, got a blank line");
}

constexpr const char* kCopa = R"(<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE copa-corpus SYSTEM "copa.dtd">
<copa-corpus version="1.0">
  <item id="7" asks-for="cause" most-plausible-alternative="2">
    <p>The glass broke &amp; fell.</p>
    <a1>It was full.</a1>
    <a2>It was dropped.</a2>
  </item>
</copa-corpus>)";

TEST(Records, CopaXmlHasSuperGluesFields) {
  const auto records = parse_records(kCopa, "copa.xml", kXml);
  ASSERT_EQ(records.size(), 1u);
  EXPECT_EQ(*records[0].value, (Json{{"idx", "7"},
                                     {"question", "cause"},
                                     {"label", "1"},
                                     {"premise", "The glass broke & fell."},
                                     {"choice1", "It was full."},
                                     {"choice2", "It was dropped."}}));
  EXPECT_EQ(records[0].where, "copa.xml:4");
}

TEST(Records, CopaXmlNamesTheItemThatIsBroken) {
  const auto changed = [](const std::string& from, const std::string& to) {
    std::string text = kCopa;
    text.replace(text.find(from), from.size(), to);
    return error(text, kXml);
  };
  EXPECT_EQ(changed("alternative=\"2\"", "alternative=\"3\""),
            "f:4: most-plausible-alternative: expected 1 or 2, got 3");
  EXPECT_EQ(changed(" asks-for=\"cause\"", ""), "f:4: asks-for: expected this attribute, got an item without it");
  EXPECT_EQ(changed("<a2>It was dropped.</a2>", ""), "f:4: <a2>: expected this element, got an item without it");
  EXPECT_EQ(changed("</a1>", "").substr(0, 31), "f:9: expected well-formed XML, ");
  EXPECT_EQ(error("<other/>", kXml), "f: expected the root element <copa-corpus>, got other");
}

TEST(Records, MutatedFilesGiveRecordsOrOneError) {
  const std::pair<RecordOptions, std::string> files[] = {
      {kJsonl, "{\"a\": [1, 2], \"b\": \"\\u00e9\"}\n{\"a\": [3]}\n"},
      {{.format = RecordFormat::kJsonl, .expand = {"a"}}, "{\"a\": [1, 2]}\n{\"a\": [3]}\n"},
      {{.format = RecordFormat::kJson, .each = "d.x"}, "{\"d\": {\"x\": [{\"a\": 1}, {\"a\": 2}]}}"},
      {kCsv, "a,b\n1,\"x,\"\"y\"\n2,é\n"},
      {kTsv, "a\tb\n1\t\"x\n"},
      {kXml, kCopa}};
  Rng rng(2);
  for (const auto& [options, text] : files)
    for (int round = 0; round < 1500; ++round) {
      std::string mutated = text;
      for (uint64_t i = rng.below(4) + 1; i-- > 0;)
        mutated[rng.below(mutated.size())] = static_cast<char>(rng.below(256));
      if (rng.below(4) == 0) mutated.resize(rng.below(mutated.size()));
      try {
        for (const Record& record : parse_records(mutated, "f", options)) EXPECT_TRUE(record.value->is_object());
      } catch (const Error& failure) {
        EXPECT_EQ(failure.code(), ErrorCode::kData) << failure.what();
      }
    }
}

}  // namespace
}  // namespace troupe
