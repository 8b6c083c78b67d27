// The prompts of the built-in tasks on records in the released formats, text by text.
#include <fmt/core.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <map>
#include <nlohmann/json.hpp>

#include "eval/tasks/filters.h"
#include "eval/tasks/items.h"
#include "eval/tasks/task_file.h"
#include "temporary_folder.h"

namespace troupe {
namespace {

struct Expected {
  std::vector<std::string> contexts, choices;
  std::vector<int> gold;
};

struct Case {
  const char* task;
  std::map<std::string, std::string> files;
  Expected paper, harness;  // without contexts: the convention is not defined
};

// The first item of the evaluated split.
void expect_prompts(const Case& test) {
  test::TemporaryFolder folder;
  const TaskFile task = select_tasks(load_tasks(), {test.task})[0];
  std::filesystem::create_directories(folder / task.folder);
  for (const auto& [name, text] : test.files) std::ofstream(folder / task.folder / name) << text;
  const SplitRecords split = load_split(task, folder.path(), task.evaluate);
  for (const auto& [convention, expected] :
       {std::pair{Convention::kPaper, test.paper}, {Convention::kHarness, test.harness}}) {
    const auto& prompts = task.prompts(convention);
    ASSERT_EQ(prompts.has_value(), !expected.contexts.empty()) << test.task << " " << name_of_enum(convention);
    if (!prompts) continue;
    const Item item = make_item(task, *prompts, split.records[0]);
    EXPECT_EQ(item.contexts, expected.contexts) << test.task << " " << name_of_enum(convention);
    EXPECT_EQ(item.choices, expected.choices) << test.task << " " << name_of_enum(convention);
    EXPECT_EQ(item.gold, expected.gold) << test.task << " " << name_of_enum(convention);
  }
}

TEST(BuiltInTasks, HellaSwag) {
  expect_prompts(
      {"hellaswag",
       {{"hellaswag_val.jsonl",
         R"({"ind": 1, "activity_label": "Cooking", "ctx_a": "[header] How to fry [title] Heat it.", "ctx_b": "the Pan", "label": 2, "endings": ["is  hot", "[x] b", "c [title] d", "d."]})"}},
       {{"Cooking: How to fry. Heat it. The pan"}, {"is hot", " b", "c. d", "d."}, {2}},
       {{"Cooking: How to fry. Heat it. The pan"}, {"is hot", " b", "c. d", "d."}, {2}}});
}

TEST(BuiltInTasks, Piqa) {
  expect_prompts(
      {"piqa",
       {{"valid.jsonl", R"({"goal": "Dry it", "sol1": "Use sun ", "sol2": "Use water"})"}, {"valid-labels.lst", "1\n"}},
       {{"Dry it"}, {"Use sun ", "Use water"}, {1}},
       {{"Question: Dry it\nAnswer:"}, {"Use sun ", "Use water"}, {1}}});
}

TEST(BuiltInTasks, WinoGrande) {
  const Expected expected = {{"Ann helped Bea because Ann", "Ann helped Bea because Bea"}, {"was kind."}, {0}};
  expect_prompts(
      {"winogrande",
       {{"dev.jsonl",
         R"({"qID": "x", "sentence": "Ann helped Bea because _ was kind.", "option1": "Ann", "option2": "Bea", "answer": "1"})"}},
       expected,
       expected});
}

TEST(BuiltInTasks, StoryCloze) {
  const Expected expected = {{"A. B. C. D."}, {"E.", "F."}, {1}};
  expect_prompts({"storycloze",
                  {{"cloze_test_val.csv",
                    "InputStoryid,InputSentence1,InputSentence2,InputSentence3,InputSentence4,RandomFifthSentenceQuiz1,"
                    "RandomFifthSentenceQuiz2,AnswerRightEnding\n1,A.,B.,C.,D.,E.,F.,2\n"}},
                  expected,
                  expected});
}

TEST(BuiltInTasks, OpenBookQaAndArc) {
  const std::string line =
      R"({"id": "7", "question": {"stem": "Ice is", "choices": [{"text": "hot", "label": "A"}, {"text": "cold", "label": "B"}, {"text": "dry", "label": "C"}]}, "answerKey": "B"})";
  expect_prompts({"openbookqa",
                  {{"test.jsonl", line}},
                  {{"Ice is"}, {"hot.", "cold.", "dry."}, {1}},
                  {{"Ice is"}, {"hot", "cold", "dry"}, {1}}});
  const Expected paper = {{"Ice is It is"}, {"hot", "cold", "dry"}, {1}},
                 harness = {{"Question: Ice is\nAnswer:"}, {"hot", "cold", "dry"}, {1}};
  expect_prompts({"arc_easy", {{"ARC-Easy-Test.jsonl", line}}, paper, harness});
  expect_prompts({"arc_challenge", {{"ARC-Challenge-Test.jsonl", line}}, paper, harness});
}

TEST(BuiltInTasks, Record) {
  expect_prompts(
      {"record",
       {{"val.jsonl",
         R"({"passage": {"text": "Zoé met Al.\nAl left.\n@highlight\nAl is gone", "entities": [{"start": 0, "end": 2}, {"start": 8, "end": 9}, {"start": 12, "end": 13}]}, "qas": [{"query": "Then @placeholder slept.", "answers": [{"start": 8, "end": 9, "text": "Al"}], "idx": 0}], "idx": 0})"}},
       {{"Zoé met Al.\nAl left."}, {"Then Al slept.", "Then Zoé slept."}, {0}},
       {{"Zoé met Al.\nAl left.\n\n  - Al is gone.\n"}, {"  - Then Al slept.", "  - Then Zoé slept."}, {0}}});
}

TEST(BuiltInTasks, Copa) {
  const Expected paper = {{"It rained so"}, {"he ran.", "I ate."}, {1}},
                 harness = {{"It rained therefore"}, {" he ran.", " I ate."}, {1}};
  Expected paper_lower = paper, harness_lower = harness;
  paper_lower.choices[1] = "i ate.", harness_lower.choices[1] = " i ate.";
  expect_prompts(
      {"copa",
       {{"val.jsonl",
         R"({"premise": "It rained.", "choice1": "He ran.", "choice2": "I ate.", "question": "effect", "label": 1, "idx": 0})"}},
       paper_lower,
       harness_lower});
  expect_prompts({"copa",
                  {{"copa-dev.xml",
                    "<copa-corpus><item id=\"1\" asks-for=\"effect\" most-plausible-alternative=\"2\"><p>It "
                    "rained.</p><a1>He ran.</a1><a2>I ate.</a2></item></copa-corpus>"}},
                  paper_lower,
                  harness_lower});
}

TEST(BuiltInTasks, BoolQ) {
  expect_prompts({"boolq",
                  {{"val.jsonl", R"({"question": "is ice cold", "passage": "Ice is.", "idx": 0, "label": true})"}},
                  {{"Paragraph: Ice is. Question: is ice cold? Answer:"}, {"True", "False"}, {0}},
                  {{"Ice is.\nQuestion: is ice cold?\nAnswer:"}, {"no", "yes"}, {1}}});
}

TEST(BuiltInTasks, Sst2) {
  expect_prompts(
      {"sst2",
       {{"dev.tsv", "sentence\tlabel\na \"fine film \t1\n"}},
       {{"a \"fine film . All in all, it was"}, {"bad", "good"}, {1}},
       {{"a \"fine film \nQuestion: Is this sentence positive or negative?\nAnswer:"}, {"negative", "positive"}, {1}}});
}

TEST(BuiltInTasks, Mnli) {
  const Expected paper = {
      {"Paragraph: P. Question: H True, False, or Neither? Answer:"}, {"True", "False", "Neither"}, {1}};
  const Expected harness = {{"P.\nQuestion: H. True, False or Neither?\nAnswer:"}, {"True", "Neither", "False"}, {2}};
  expect_prompts({"mnli",
                  {{"dev_matched.jsonl", R"({"premise": "P.", "hypothesis": "H", "label": "contradiction"})"}},
                  paper,
                  harness});
  expect_prompts(
      {"mnli",
       {{"dev_matched.tsv", "index\tsentence1\tsentence2\tlabel1\tgold_label\n0\tP.\tH\tneutral\tcontradiction\n"}},
       paper,
       harness});
  expect_prompts({"mnli",
                  {{"multinli_1.0_dev_matched.jsonl",
                    "{\"sentence1\": \"x\", \"sentence2\": \"y\", \"gold_label\": \"-\"}\n{\"sentence1\": \"P.\", "
                    "\"sentence2\": \"H\", \"gold_label\": \"contradiction\"}\n"}},
                  paper,
                  harness});
}

TEST(BuiltInTasks, Lambada) {
  expect_prompts({"lambada",
                  {{"lambada_test.jsonl", R"({"text": "She said\n\"go on\" to  him"})"}},
                  {},
                  {{"She said\n\"go on\" to "}, {"him"}, {}}});
}

TEST(BuiltInTasks, SuperGluePairs) {
  expect_prompts({"rte",
                  {{"val.jsonl", R"({"premise": "P.", "hypothesis": "H.", "label": "not_entailment", "idx": 0})"}},
                  {},
                  {{"P.\nQuestion: H. True or False?\nAnswer:"}, {"True", "False"}, {1}}});
  expect_prompts({"cb",
                  {{"val.jsonl", R"({"premise": "P.", "hypothesis": "H", "label": "neutral", "idx": 0})"}},
                  {},
                  {{"P.\nQuestion: H. True, False, or Neither?\nAnswer:"}, {"True", "False", "Neither"}, {2}}});
  expect_prompts(
      {"wic",
       {{"val.jsonl",
         R"({"word": "bed", "sentence1": "The bed é bed.", "sentence2": "A bed.", "idx": 0, "label": false, "start1": 10, "start2": 2, "end1": 13, "end2": 5})"}},
       {},
       {{"Sentence 1: The bed é bed.\nSentence 2: A bed.\nQuestion: Is the word 'bed' used in the same way in the two "
         "sentences above?\nAnswer:"},
        {"no", "yes"},
        {0}}});
  expect_prompts(
      {"wsc",
       {{"val.jsonl",
         R"({"text": "Ann , who met Bea , knew that she did n't wait .", "target": {"span1_index": 0, "span2_index": 8, "span1_text": "Ann", "span2_text": "she"}, "idx": 0, "label": true})"}},
       {},
       {{"Passage: Ann, who met Bea, knew that *she* didn't wait.\nQuestion: In the passage above, does the pronoun "
         "\"*she*\" refer to \"*Ann*\"?\nAnswer:"},
        {"no", "yes"},
        {1}}});
  expect_prompts(
      {"multirc",
       {{"val.jsonl",
         R"({"idx": 0, "passage": {"text": "P.", "questions": [{"question": "Who?", "answers": [{"text": "Al", "idx": 0, "label": 1}], "idx": 0}]}})"}},
       {},
       {{"P.\nQuestion: Who?\nAnswer:"}, {"Al\nIs the answer correct? yes", "Al\nIs the answer correct? no"}, {1}}});
}

TEST(BuiltInTasks, MinimalPairsAndWinogender) {
  const Expected expected = {{""}, {"He is.", "He are."}, {0}};
  expect_prompts({"blimp",
                  {{"x.jsonl", R"({"sentence_good": "He is.", "sentence_bad": "He are.", "UID": "x", "pairID": "0"})"}},
                  expected,
                  expected});
  expect_prompts({"winogender",
                  {{"all_sentences.tsv",
                    "sentid\tsentence\ncook.guest.1.neutral.txt\tThe cook told the guest that they could pay.\n"}},
                  {},
                  {{"The cook told the guest that they could pay. ‘They’ refers to the"}, {"cook", "guest"}, {1}}});
}

TEST(BuiltInTasks, TheDocumentationListsEveryFilter) {
  std::ifstream file(std::filesystem::path(TROUPE_TEST_DATA) / "../../docs/evaluation.md");
  const std::string text((std::istreambuf_iterator<char>(file)), {});
  for (const Filter& filter : filters())
    EXPECT_NE(text.find(fmt::format("| `{}` | {} |", filter.name, filter.help)), text.npos) << filter.name;
}

// Every item of every task whose files are in $TROUPE_TASK_DATA renders in each of its conventions.
TEST(BuiltInTasks, RenderAllReleasedData) {
  const char* data = std::getenv("TROUPE_TASK_DATA");
  if (!data) GTEST_SKIP() << "TROUPE_TASK_DATA is not set";
  int64_t found = 0;
  for (const TaskFile& task : load_tasks()) {
    if (!find_split(task, data, task.evaluate).source) {
      std::cout << task.name << ": no files\n";
      continue;
    }
    ++found;
    const SplitRecords split = load_split(task, data, task.evaluate);
    for (const auto* prompts : {&task.paper, &task.harness}) {
      if (!*prompts) continue;
      for (const Record& record : split.records) EXPECT_GE(make_item(task, **prompts, record).candidates(), 1u);
    }
    std::cout << task.name << ": " << split.records.size() << " items, checksum " << split.checksum << "\n";
  }
  EXPECT_GT(found, 0);
}

}  // namespace
}  // namespace troupe
