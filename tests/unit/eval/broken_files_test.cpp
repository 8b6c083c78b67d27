// What is wrong with a task's files is named by file, line and field: every format, every kind of damage.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "error_of.h"
#include "eval/tasks/items.h"
#include "temporary_folder.h"

namespace troupe {
namespace {

struct BrokenFile {
  const char* task;
  const char* path;  // below the task's folder
  const char* text;
  const char* error;  // after "FOLDER/"
};

constexpr const char* kCopaXml = "<copa-corpus><item id=\"1\" asks-for=\"cause\" most-plausible-alternative=\"";

const BrokenFile kBroken[] = {
    // missing field
    {"hellaswag", "hellaswag_val.jsonl", "{\"ind\":1,\"activity_label\":\"A\",\"ctx_a\":\"b\",\"ctx_b\":\"c\"}\n",
     "hellaswag_val.jsonl:1: endings: "},
    {"storycloze", "cloze_test_val.csv", "InputStoryid,InputSentence1\n1,a\n", "cloze_test_val.csv:2: context: "},
    {"sst2", "dev.tsv", "sentence\nfine\n", "dev.tsv:2: label: "},
    {"copa", "copa-dev.xml", "<copa-corpus><item id=\"1\" most-plausible-alternative=\"1\"/></copa-corpus>",
     "copa-dev.xml:1: asks-for: "},
    {"record", "val.jsonl", "{\"passage\":{\"text\":\"a\",\"entities\":[]}}\n", "val.jsonl:1: qas: "},
    {"multirc", "val.jsonl", "{\"passage\":{\"text\":\"a\"}}\n", "val.jsonl:1: passage.questions: "},
    {"mnli", "dev_matched.tsv", "sentence1\tsentence2\na\tb\n", "dev_matched.tsv:2: gold_label: "},
    // label out of range
    {"winogrande", "dev.jsonl",
     "{\"qID\":\"q\",\"sentence\":\"a _ b\",\"option1\":\"x\",\"option2\":\"y\",\"answer\":\"3\"}\n",
     "dev.jsonl:1: label: expected one of 1, 2, got 3"},
    {"storycloze", "cloze_test_val.csv",
     "InputStoryid,InputSentence1,InputSentence2,InputSentence3,InputSentence4,RandomFifthSentenceQuiz1,"
     "RandomFifthSentenceQuiz2,AnswerRightEnding\n1,a,b,c,d,\"e,\",f,0\n",
     "cloze_test_val.csv:2: label: expected one of 1, 2, got 0"},
    {"sst2", "dev.tsv", "sentence\tlabel\nfine\t-1\n", "dev.tsv:2: label: expected one of 0, 1, got -1"},
    {"copa", "copa-dev.xml", kCopaXml, "copa-dev.xml:1: expected well-formed XML"},
    {"arc_easy", "ARC-Easy-Test.jsonl",
     "{\"id\":\"1\",\"question\":{\"stem\":\"s\",\"choices\":[{\"text\":\"a\",\"label\":\"A\"},{\"text\":\"b\","
     "\"label\":\"B\"}]},\"answerKey\":\"E\"}\n",
     "ARC-Easy-Test.jsonl:1: label: expected one of A, B, got E"},
    // duplicate id
    {"rte", "val.jsonl",
     "{\"premise\":\"p\",\"hypothesis\":\"h\",\"label\":\"entailment\",\"idx\":4}\n"
     "{\"premise\":\"q\",\"hypothesis\":\"h\",\"label\":\"entailment\",\"idx\":4}\n",
     "val.jsonl:2: id: expected one of its own, got 4, which "},
    {"winogender", "all_sentences.tsv", "sentid\tsentence\na.b.0.male.txt\tHe ran.\na.b.0.male.txt\tHe ran.\n",
     "all_sentences.tsv:3: id: expected one of its own, got a.b.0.male.txt, which "},
    // empty choice
    {"openbookqa", "test.jsonl",
     "{\"id\":\"1\",\"question\":{\"stem\":\"s\",\"choices\":[{\"text\":\"a\",\"label\":\"A\"},{\"text\":\"\","
     "\"label\":\"B\"}]},\"answerKey\":\"A\"}\n",
     "test.jsonl:1: choices[1]: expected text, got an empty choice"},
    {"blimp", "x.jsonl", "{\"UID\":\"x\",\"pairID\":\"0\",\"sentence_good\":\" \",\"sentence_bad\":\"b\"}\n",
     "x.jsonl:1: choices[0]: expected text, got an empty choice"},
    // wrong encoding
    {"lambada", "lambada_test.jsonl", "{\"text\":\"a b\"}\n{\"text\":\"caf\xe9 b\"}\n",
     "lambada_test.jsonl:2: expected UTF-8, got byte 0xe9"},
    {"sst2", "dev.tsv", "sentence\tlabel\nfine\xff\t1\n", "dev.tsv:2: expected UTF-8, got byte 0xff"},
    {"copa", "copa-dev.xml", "<copa-corpus>\n\xc3\x28</copa-corpus>", "copa-dev.xml:2: expected UTF-8"},
    // labels and rows that do not match
    {"sst2", "dev.tsv", "sentence\tlabel\nfine\n", "dev.tsv:2: expected 2 columns (as in the header), got 1"},
    {"wsc", "val.jsonl", "{\"text\": 1\n", "val.jsonl:1: line 1"},
};

TEST(BrokenFiles, AreNamedByFileLineAndField) {
  for (const BrokenFile& broken : kBroken) {
    const test::TemporaryFolder folder;
    const TaskFile task = select_tasks(load_tasks({}), {broken.task}).front();
    const std::filesystem::path path = folder.path() / task.folder / broken.path;
    std::filesystem::create_directories(path.parent_path());
    std::ofstream(path, std::ios::binary) << broken.text;
    const std::string error = test::error_of([&] {
      for (const auto& prompts : {task.paper, task.harness})
        if (prompts)
          for (const Record& record :
               load_split(task, folder.path(),
                          find_split(task, folder.path(), task.evaluate).source ? task.evaluate : task.shots)
                   .records)
            make_item(task, *prompts, record);
    });
    const std::string expected = path.parent_path().string() + "/" + broken.error;
    EXPECT_EQ(error.substr(0, expected.size()), expected) << broken.task;
  }
}

TEST(BrokenFiles, LabelFilesAreNamedToo) {
  const test::TemporaryFolder folder;
  const TaskFile task = select_tasks(load_tasks({}), {"piqa"}).front();
  const std::filesystem::path piqa = folder.path() / "piqa";
  std::filesystem::create_directories(piqa);
  std::ofstream(piqa / "valid.jsonl") << "{\"goal\":\"g\",\"sol1\":\"a\",\"sol2\":\"b\"}\n";
  const auto error = [&](const char* labels) {
    std::ofstream(piqa / "valid-labels.lst") << labels;
    return test::error_of(
        [&] { make_item(task, *task.paper, load_split(task, folder.path(), "validation").records.front()); });
  };
  EXPECT_EQ(error("0\n1\n"), (piqa / "valid-labels.lst").string() + ":2: expected 1 labels, one per record, got more");
  EXPECT_EQ(error("2\n"), (piqa / "valid.jsonl").string() + ":1: label: expected one of 0, 1, got 2");
}

}  // namespace
}  // namespace troupe
