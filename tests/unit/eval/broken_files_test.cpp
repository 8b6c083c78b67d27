// Every loader of evaluation data with every kind of damage: one error that names file, line or record, and field, or
// the same items as before.
#include <gtest/gtest.h>
#include <zstd.h>

#include <filesystem>
#include <fstream>
#include <functional>

#include "data/tokenizer/bpe_trainer.h"
#include "error_of.h"
#include "eval/bias/bias.h"
#include "eval/eval_text.h"
#include "eval/tasks/run_task.h"
#include "temporary_folder.h"

namespace troupe {
namespace {

namespace fs = std::filesystem;

// In the second of three records, `from` becomes `to`.
struct Change {
  const char* from;
  const char* to;
  const char* error;  // after the record's place; with ~ in front, anywhere (found behind the record)
};

struct Loader {
  const char* name;      // of the task, or stereoset, crows_pairs, pile
  const char* file;      // in the folder of that name
  const char* header;    // before the records
  const char* record;    // # is the record's number
  const char* footer;    // after them
  const char* place;     // of the second record, after the file's name
  bool line_per_record;  // as against a document
  std::vector<Change> changes;

  friend void PrintTo(const Loader& loader, std::ostream* out) { *out << loader.name << "/" << loader.file; }
};

constexpr const char* kArc =
    R"({"id":"#","question":{"stem":"stem #","choices":[{"text":"aa","label":"A"},{"text":"bb","label":"B"}]},"answerKey":"A"})";
const std::vector<Change> kArcChanges = {
    {"\"id\"", "\"ip\"", "id: id: expected this field, got a record without it"},
    {"\"2\"", "\"1\"", "id: expected one of its own, got 1, which "},
    {"\"2\"", "\" \"", "id: expected text, got an empty one"},
    {"\"2\"", "[2]", "id: id: expected text, a whole number, true or false, got array"},
    {"\"stem 2\"", "7", "context: question.stem: expected text, got 7"},
    {"\"stem 2\"", "[\"x\", \"y\"]", "context: question.stem: expected text, got array"},
    {"\"stem 2\"", "\" \"", "context: question.stem: expected text, got an empty one"},
    {"\"aa\"", "\"\"", "choices[0]: expected text, got an empty choice"},
    {"\"bb\"", "null", "choices: question.choices.text[1]: expected text, got null"},
    {"{\"text\":\"bb\",\"label\":\"B\"}", "{\"text\":\"bb\"}", "labels: question.choices.label: expected this field"},
    {",{\"text\":\"bb\",\"label\":\"B\"}", "", "choices: expected at least two, got 1"},
    {"\"B\"", "\"\"", "labels[1]: expected text, got an empty one"},
    {"\"B\"", "\"A\"", "labels: expected each once, got A twice"},
    {"\"answerKey\":\"A\"", "\"answerKey\":\"E\"", "label: expected one of A, B, got E"},
    {"\"answerKey\":\"A\"", "\"answerKey\":\"\"", "label: expected one of A, B, got \"\""},
    {"\"answerKey\":\"A\"", "\"answerKey\":[\"A\",\"B\"]", "label: answerKey: expected text"},
    {"\"answerKey\":\"A\"", "\"answerKey\":1.5", "label: answerKey: expected text"},
    {"{\"id\"", "{\"id\":\"9\",\"id\"", "id: expected each key once, got it twice"},
    {"\"answerKey\":\"A\"}", "\"answerKey\":", "column "}};

constexpr const char* kStereo =
    R"(, {"id":"#","target":"t","bias_type":"race","context":"c BLANK","sentences":[{"sentence":"ss","gold_label":"stereotype"},{"sentence":"aa","gold_label":"anti-stereotype"},{"sentence":"uu","gold_label":"unrelated"}]})";

const Loader kLoaders[] = {
    {"arc_easy", "ARC-Easy-Test.jsonl", "", kArc, "", ":2: ", true, kArcChanges},
    {"arc_challenge", "ARC-Challenge-Test.jsonl", "", kArc, "", ":2: ", true, {}},
    {"openbookqa", "test.jsonl", "", kArc, "", ":2: ", true, {}},
    {"blimp",
     "x.jsonl",
     "",
     R"({"UID":"x","pairID":"#","sentence_good":"good","sentence_bad":"bad"})",
     "",
     ":2: ",
     true,
     {{"\"x\"", "\"\"", "group: expected text, got an empty one"},
      {"\"2\"", "\"1\"", "id: expected one of its own, got x 1, which "},
      {"\"good\"", "\"\\t\"", "choices[0]: expected text, got an empty choice"},
      {"\"bad\"", "false", "choices: sentence_bad: expected text, got false"}}},
    {"boolq",
     "val.jsonl",
     "",
     R"({"question":"q","passage":"p","idx":#,"label":true})",
     "",
     ":2: ",
     true,
     {{"true", "\"yes\"", "label: expected one of "},
      {":2", ":1", "id: expected one of its own, got 1, which "},
      {"\"p\"", "\"\"", "context: passage: expected text, got an empty one"}}},
    {"cb",
     "val.jsonl",
     "",
     R"({"premise":"p","hypothesis":"h","label":"neutral","idx":#})",
     "",
     ":2: ",
     true,
     {{"neutral", "other", "label: expected one of entailment, contradiction, neutral, got other"}}},
    {"copa",
     "val.jsonl",
     "",
     R"({"premise":"p.","choice1":"a","choice2":"b","question":"cause","label":0,"idx":#})",
     "",
     ":2: ",
     true,
     {{"cause", "reason", "context: question: map: expected one of cause, effect, got \"reason\""},
      {":0", ":2", "label: expected one of 0, 1, got 2"},
      {"\"p.\"", "\" \"", "context: beginning: expected text, got an empty one"},
      {"\"b\"", "\"\"", "choices[1]: expected text, got an empty choice"}}},
    {"hellaswag",
     "hellaswag_val.jsonl",
     "",
     R"({"ind":#,"activity_label":"A","ctx_a":"b","ctx_b":"c","label":1,"endings":["x","y","z","w"]})",
     "",
     ":2: ",
     true,
     {{"\"endings\"", "\"ends\"", "endings: endings: expected this field, got a record without it (nearest: ends)"},
      {"\"b\"", "7", "query: ctx_a: expected text, got 7"},
      {"[\"x\",\"y\",\"z\",\"w\"]", "\"x\"", "choices: expected at least two, got 1"},
      {":1,", ":\"\",", "label: expected one of 0, 1, 2, 3, got \"\""},
      {"\"z\"", "\"\"", "choices[2]: expected text, got an empty choice"}}},
    {"lambada",
     "lambada_test.jsonl",
     "",
     R"({"text":"a long text #"})",
     "",
     ":2: ",
     true,
     {{"\"a long text 2\"", "[\"a b\"]", "context: text: expected text, got array"},
      {" 2", " ", "choices[0]: expected text, got an empty choice"}}},
    {"mnli",
     "dev_matched.jsonl",
     "",
     R"({"premise":"p #","hypothesis":"h","label":"neutral"})",
     "",
     ":2: ",
     true,
     {{"neutral", "0", "label: expected one of entailment, contradiction, neutral, got 0"}}},
    {"mnli",
     "dev_matched.tsv",
     "index\tsentence1\tsentence2\tgold_label\n",
     "#\tp\th\tneutral",
     "",
     ":3: ",
     true,
     {{"2\t", "1\t", "id: expected one of its own, got 1, which "}, {"h", " ", "context: hypothesis: expected text"}}},
    {"multirc",
     "val.jsonl",
     "",
     R"({"idx":#,"passage":{"text":"t","questions":[{"question":"q","idx":0,"answers":[{"text":"a","idx":0,"label":0},{"text":"b","idx":1,"label":1}]}]}})",
     "",
     ":2: ",
     true,
     {{"\"questions\"", "\"quests\"", "passage.questions: expected a list, got none"},
      {"{\"text\":\"b\",\"idx\":1,\"label\":1}", "7", "passage.questions[0]: passage.questions.answers[1]: "},
      {"\"label\":1", "\"label\":2",
       "passage.questions[0]: passage.questions.answers[1]: label: expected one of 0, 1, got 2"},
      {"\"idx\":1,", "\"idx\":0,",
       "passage.questions[0]: passage.questions.answers[1]: id: expected one of its own, got 2 0 0, which "}}},
    {"record",
     "val.jsonl",
     "",
     R"({"passage":{"text":"Ann saw Bob.","entities":[{"start":0,"end":2},{"start":8,"end":10}]},"qas":[{"query":"@placeholder ran","answers":[{"text":"Bob"}],"idx":#}]})",
     "",
     ":2: ",
     true,
     {{"10}", "12}", "qas[0]: entities: passage.entities: spans: expected a range in a text of 12 characters"},
      {"{\"text\":\"Bob\"}", "{\"text\":\"Bob\"},{\"text\":\"\"}", "qas[0]: answers: expected texts, got an empty one"},
      {"\"Bob\"", "\"Eve\"", "qas[0]: label: expected one of Ann, Bob, got Eve"},
      {"@placeholder", "X", "qas[0]: choices: entities: fill: expected \"@placeholder\" in the text"},
      {"\"qas\":[", "\"qas\":7,\"x\":[", "qas: expected a list, got number"}}},
    {"rte", "val.jsonl", "", R"({"premise":"p","hypothesis":"h","label":"entailment","idx":#})", "", ":2: ", true, {}},
    {"wic",
     "val.jsonl",
     "",
     R"({"sentence1":"one two","sentence2":"s","start1":4,"end1":7,"label":true,"idx":#})",
     "",
     ":2: ",
     true,
     {{":7", ":8", "context: sentence1: slice: expected a range in a text of 7 characters, got 4 to 8"},
      {":4", ":-1", "context: sentence1: slice: expected a range"},
      {":4", ":\"4\"", "context: sentence1: slice: expected a whole number as argument, got string"}}},
    {"winogrande",
     "dev.jsonl",
     "",
     R"({"qID":"#","sentence":"a _ b","option1":"x","option2":"y","answer":"1"})",
     "",
     ":2: ",
     true,
     {{"_", "-", "context: sentence: before: expected \"_\" in the text, got \"a - b\""},
      {"\"y\"", "\"\"", "context: option2: expected text, got an empty one"},
      {"\"answer\":\"1\"", "\"answer\":\"3\"", "label: expected one of 1, 2, got 3"}}},
    {"wsc",
     "val.jsonl",
     "",
     R"({"text":"Ann saw her dog","target":{"span1_text":"Ann","span2_text":"her","span2_index":2},"idx":#,"label":false})",
     "",
     ":2: ",
     true,
     {{"\"span2_index\":2", "\"span2_index\":9", "context: text: mark_word: expected a word number below 4, got 9"},
      {"\"span2_index\":2", "\"span2_index\":-1", "context: text: mark_word: expected a word number from 0, got -1"},
      {"\"her\"", "\"\"", "context: target.span2_text: expected text, got an empty one"}}},
    {"sst2",
     "dev.tsv",
     "sentence\tlabel\n",
     "fine #\t1",
     "",
     ":3: ",
     true,
     {{"\t1", "", "expected 2 columns (as in the header), got 1"},
      {"\t1", "\t1\tx", "expected 2 columns (as in the header), got 3"},
      {"\t1", "\t", "label: expected one of 0, 1, got \"\""},
      {"fine 2", " ", "context: sentence: expected text, got an empty one"}}},
    {"winogender",
     "all_sentences.tsv",
     "sentid\tsentence\n",
     "nurse.man.0.male#.txt\tHe ran.",
     "",
     ":3: ",
     true,
     {{"He", "It", "pronoun: sentence: first_word_among: expected one of the words in the text, got \"It ran.\""},
      {".0.", ".2.", "label: expected one of 0, 1, got 2"},
      {"nurse.man.0.male2.txt", "nurse", "choices: sentid: part: expected at least 2 parts, got 1 in \"nurse\""}}},
    {"storycloze",
     "cloze_test_val.csv",
     "InputStoryid,InputSentence1,InputSentence2,InputSentence3,InputSentence4,RandomFifthSentenceQuiz1,"
     "RandomFifthSentenceQuiz2,AnswerRightEnding\n",
     "#,a,b,\"c, c\",d,ee,ff,1",
     "",
     ":3: ",
     true,
     {{",1", ",3", "label: expected one of 1, 2, got 3"},
      {",ff", ",", "choices[1]: expected text, got an empty choice"},
      {"2,a", "1,a", "id: expected one of its own, got 1, which "},
      {"c\"", "c\"c", "expected a separator after the closing quote, got \"c\" (the quote was opened in line 3)"},
      {"c\"", "c", "~expected a separator after the closing quote, got \"c\" (the quote was opened in line 3)"}}},
    {"copa",
     "copa-dev.xml",
     "<copa-corpus>\n",
     R"(<item id="#" asks-for="cause" most-plausible-alternative="1"><p>p.</p><a1>aa</a1><a2>bb</a2></item>)",
     "</copa-corpus>",
     ":3: ",
     false,
     {{"asks-for", "asks", "asks-for: expected this attribute, got an item without it"},
      {"=\"1\"", "=\"0\"", "most-plausible-alternative: expected 1 or 2, got 0"},
      {"<a2>bb</a2>", "", "<a2>: expected this element, got an item without it"},
      {"<a2>bb</a2>", "<a2/>", "<a2>: expected text, got an empty one"},
      {"<a2>", "<a1>x</a1><a2>", "<a1>: expected this element once, got it twice"},
      {"<item id=\"2\"", "<x/><item id=\"2\"", "expected <item>, got <x>"},
      {"id=\"2\"", "id=\"1\"", "id: expected one of its own, got 1, which "},
      {"\"cause\"", "\"\"", "context: question: expected text, got an empty one"},
      {"</p>", "", "~expected well-formed XML, got: "}}},
    {"stereoset",
     "dev.json",
     R"({"data":{"intersentence":[],"intrasentence":[{"id":"x","target":"t","bias_type":"race","sentences":[{"sentence":"s","gold_label":"stereotype"},{"sentence":"a","gold_label":"anti-stereotype"},{"sentence":"u","gold_label":"unrelated"}]})"
     "\n",
     kStereo,
     "]}}",
     ": data.intrasentence[2]: ",
     false,
     {{"\"2\"", "\"1\"", "id: expected one of its own, got 1, which "},
      {"\"2\"", "2", "id: expected text, got 2"},
      {"\"race\"", "null", "bias_type: expected text, got null"},
      {"\"t\"", "\"\"", "target: expected text, got an empty one"},
      {"\"sentences\"", "\"sents\"", "sentences: expected a list, got none"},
      {"\"ss\"", "\" \"", "sentences[0]: sentence: expected text, got an empty one"},
      {"\"aa\"", "[\"a\"]", "sentences[1]: sentence: expected text, got array"},
      {"\"unrelated\"", "\"\"", "sentences[2]: gold_label: expected text, got an empty one"},
      {"\"unrelated\"", "\"other\"", "sentences[2]: gold_label: expected stereotype, anti-stereotype or unrelated"},
      {"\"unrelated\"", "\"stereotype\"", "sentences: expected one sentence of each label, got two of stereotype"}}},
    {"crows_pairs",
     "crows_pairs_anonymized.csv",
     ",sent_more,sent_less,bias_type\n",
     "#,\"a, b\",c,age",
     "",
     ":3: ",
     true,
     {{"2,", "1,", "id: expected one of its own, got 1, which "},
      {"2,", ",", "id: expected text, got an empty one"},
      {",c,", ",,", "sent_less: expected text, got an empty one"},
      {",age", ",", "bias_type: expected text, got an empty one"},
      {",age", "", "expected 4 columns (as in the header), got 3"}}},
    {"pile",
     "val.jsonl",
     "",
     R"({"text":"text #","meta":{"pile_set_name":"Books"}})",
     "",
     ":2: ",
     true,
     {{"\"text\"", "\"t\"", "text: expected this field, got none"},
      {"\"text 2\"", "7", "text: expected a string, got a number"},
      {"\"Books\"", "null", "meta.pile_set_name: expected a string, got null"},
      {"{\"pile_set_name\":\"Books\"}", "\"x\"", "meta.pile_set_name: expected meta to be an object, got a string"},
      {"\"text 2\"", "\"te", "expected a JSON object, got bad JSON"}}},
};

class Files {
 public:
  explicit Files(const Loader& loader) : loader_(loader) { fs::create_directories(path().parent_path()); }

  fs::path path() const { return folder_ / loader_.name / loader_.file; }
  std::string record(int number) const {
    std::string text = loader_.record;
    for (size_t mark; (mark = text.find('#')) != text.npos;) text.replace(mark, 1, std::to_string(number));
    return text;
  }
  std::string text(const std::string& second, const std::string& line_end = "\n") const {
    std::string all = loader_.header;
    for (const std::string& each : {record(1), second, record(3)}) all += each + "\n";
    all += loader_.footer;
    for (size_t at = 0; line_end != "\n" && (at = all.find('\n', at)) != all.npos; at += line_end.size())
      all.replace(at, 1, line_end);
    return all;
  }
  int line() const {  // of the second record
    const std::string header = loader_.header;
    return 2 + static_cast<int>(std::count(header.begin(), header.end(), '\n'));
  }
  void write(const std::string& text, const std::string& extension = "") const {
    std::ofstream(path().string() + extension, std::ios::binary) << text;
  }
  void clear() const {
    fs::remove_all(path().parent_path());
    fs::create_directories(path().parent_path());
  }

  // The texts of what is loaded from `extension` or the plain file, all in one.
  std::string load(const std::string& extension = "") const {
    const std::string name = loader_.name;
    std::string all;
    if (name == "stereoset") {
      for (const StereoSet::Item& item : load_stereoset(folder_.path()).intrasentence)
        all += item.category + item.term + item.candidates[0] + item.candidates[1] + item.candidates[2] + "|";
    } else if (name == "crows_pairs") {
      for (const CrowsPairs::Pair& pair : load_crows_pairs(folder_.path()).pairs)
        all += pair.category + pair.more + pair.less + "|";
    } else if (name == "pile") {
      static const Tokenizer tokenizer = BpeTrainer({.vocab_size = 257}).finish();
      EvalTextOptions options;
      options.text.meta_field = "meta.pile_set_name";
      TextStats stats;
      for (const EvalText& text : read_eval_text("pile", {path().string() + extension}, tokenizer, options, stats))
        all += text.name + text.checksum() + "|";
    } else {
      static const std::vector<TaskFile> tasks = load_tasks({});
      const TaskFile task = select_tasks(tasks, {name}).front();
      for (const Convention convention : {Convention::kPaper, Convention::kHarness}) {
        if (!task.prompts(convention)) continue;
        for (const Item& item : load_task_data(task, {.data_dir = folder_.path(), .convention = convention}).items) {
          for (const std::string& text : item.contexts) all += text;
          for (const std::string& text : item.choices) all += text;
          all += (item.gold.empty() ? "" : std::to_string(item.gold[0])) + "|";
        }
      }
    }
    return all;
  }
  // "" or the error without the path in front, which must be there.
  std::string error(const std::string& extension = "") const {
    const std::string message = test::error_of([&] { load(extension); }), file = path().string() + extension;
    if (message.empty()) return message;
    EXPECT_EQ(message.substr(0, file.size()), file);
    return message.substr(std::min(file.size(), message.size()));
  }

 private:
  const Loader& loader_;
  test::TemporaryFolder folder_;
};

std::string zstd(const std::string& text) {
  std::string bytes(ZSTD_compressBound(text.size()), '\0');
  bytes.resize(ZSTD_compress(bytes.data(), bytes.size(), text.data(), text.size(), 3));
  return bytes;
}

void expect_prefix(const std::string& text, const std::string& prefix) {
  EXPECT_EQ(text.substr(0, prefix.size()), prefix);
}

class BrokenFiles : public testing::TestWithParam<Loader> {
 protected:
  const Loader& loader = GetParam();
  Files files{loader};
  const std::string good = files.record(2);
  const bool is_pile = std::string(loader.name) == "pile";
};

TEST_P(BrokenFiles, FieldsAreNamed) {
  for (const Change& change : loader.changes) {
    SCOPED_TRACE(std::string(change.from) + " -> " + change.to);
    std::string record = good;
    ASSERT_NE(record.rfind(change.from), record.npos);
    record.replace(record.rfind(change.from), std::string(change.from).size(), change.to);
    files.write(files.text(record));
    const std::string error = files.error();
    if (change.error[0] == '~') {
      EXPECT_NE(error.find(change.error + 1), error.npos) << error;
    } else {
      expect_prefix(error, loader.place + std::string(change.error));
    }
  }
}

TEST_P(BrokenFiles, BytesThatAreNoTextAreNamed) {
  const std::string at = ":" + std::to_string(files.line()) + ": ";
  const std::string before = good.substr(0, good.size() / 2), after = good.substr(good.size() / 2);
  files.write(files.text(before + "\xe9" + after));
  expect_prefix(files.error(), at + (is_pile ? "expected UTF-8, got byte 0xE9 at byte "
                                             : "expected UTF-8 text, got byte 0xe9 at byte "));
  files.write(files.text(before + std::string(1, '\0') + after));
  expect_prefix(files.error(), at + (is_pile ? "expected a JSON object, got bad JSON"
                                             : "expected UTF-8 text, got byte 0x00 at byte "));
  std::string wide = "\xff\xfe";
  for (const char c : files.text(good)) wide += {c, '\0'};
  files.write(wide);
  expect_prefix(files.error(), ":1: expected UTF-8, got ");
  files.write(wide.substr(2));
  EXPECT_NE(files.error(), "");
}

TEST_P(BrokenFiles, CutAndEmptyFilesAreNamed) {
  const std::string whole = files.text(good);
  // In the middle of the last record; from here on it is short of its last fields, or of its end.
  files.write(whole.substr(0, whole.find(files.record(3)) + files.record(3).size() / 2));
  const std::string error = files.error();
  if (std::string(loader.name) != "winogender") {  // whose last field is the sentence
    EXPECT_NE(error, "");
  }
  for (const char* text : {"", "\n", "{}", "[]", "null"}) {
    SCOPED_TRACE(text);
    files.write(text);
    if (is_pile && std::string(text).find_first_not_of('\n') == std::string::npos) {
      EXPECT_EQ(test::error_of([&] { files.load(); }), "pile: expected at least one document, got none");
    } else {
      EXPECT_NE(files.error(), "");
    }
  }
  files.write(std::string(loader.header) + loader.footer);
  if (is_pile) {
    EXPECT_NE(test::error_of([&] { files.load(); }), "");
  } else if (std::string(loader.name) != "stereoset") {  // whose first record is in the header
    expect_prefix(files.error(), ": expected at least one record, got none");
  }
}

TEST_P(BrokenFiles, CompressedFilesAreNamed) {
  const std::string whole = files.text(good), packed = zstd(whole);
  files.write(whole);
  const std::string expected = files.load();
  EXPECT_NE(expected, "");
  files.clear();
  if (std::string(loader.name) == "stereoset" || std::string(loader.name) == "crows_pairs") return;  // plain only
  files.write(packed, ".zst");
  EXPECT_EQ(files.load(".zst"), expected);
  files.write(packed.substr(0, packed.size() / 2), ".zst");
  EXPECT_NE(files.error(".zst").find("expected the rest of a zstd frame"), std::string::npos);
  files.write(whole, ".zst");
  EXPECT_NE(files.error(".zst").find("expected a zstd frame"), std::string::npos);
  files.clear();
  files.write(whole, ".gz");
  EXPECT_NE(files.error(".gz").find("expected gzip data"), std::string::npos);
}

TEST_P(BrokenFiles, WhatIsNoSingleFileIsNamed) {
  if (is_pile) return;  // a folder is one of its inputs
  fs::create_directory(files.path());
  EXPECT_EQ(files.error(), ": expected a file, got a folder");
  files.clear();
  EXPECT_NE(test::error_of([&] { files.load(); }).find("published: "), std::string::npos);
  files.write(files.text(good));
  files.write(zstd(files.text(good)), ".zst");
  EXPECT_EQ(files.error(),
            ": expected one file of this name, got " + std::string(loader.file) + ".zst too (remove one of them)");
}

TEST_P(BrokenFiles, LineEndsBlankLinesAndByteOrderMarksChangeNothing) {
  files.write(files.text(good));
  const std::string expected = files.load();
  std::vector<std::string> same = {files.text(good, "\r\n"), "\xEF\xBB\xBF" + files.text(good)};
  if (loader.line_per_record) {
    same.push_back(files.text(good, "\n\n"));
    same.push_back(files.text(good) + "\n\r\n");
    same.push_back(files.text(good).substr(0, files.text(good).size() - 1));
  }
  for (const std::string& text : same) {
    files.write(text);
    EXPECT_EQ(files.load(), expected) << text;
  }
}

INSTANTIATE_TEST_SUITE_P(Loaders, BrokenFiles, testing::ValuesIn(kLoaders), [](const auto& info) {
  std::string name = std::string(info.param.name) + "_" + info.param.file;
  std::replace_if(
      name.begin(), name.end(), [](char c) { return !std::isalnum(static_cast<unsigned char>(c)); }, '_');
  return name;
});

// PIQA: two records, labels "0" and "1" in a file of their own, examples likewise.
TEST(BrokenLabelFiles, AreNamedByTheirLines) {
  const test::TemporaryFolder folder;
  const TaskFile task = select_tasks(load_tasks({}), {"piqa"}).front();
  const fs::path piqa = folder.path() / "piqa";
  fs::create_directories(piqa);
  const std::string record = "{\"goal\":\"g\",\"sol1\":\"a\",\"sol2\":\"b\"}\n";
  const auto error = [&](const char* split, const std::string& labels, const std::string& records) {
    for (const char* each : {"valid", "train"}) {
      const bool broken = std::string(each) == split;
      std::ofstream(piqa / (std::string(each) + ".jsonl")) << (broken ? records : record + record);
      std::ofstream(piqa / (std::string(each) + "-labels.lst"), std::ios::binary) << (broken ? labels : "0\n1\n");
    }
    return test::error_of([&] {
      const TaskData data = load_task_data(task, {.data_dir = folder.path(), .shots = 1, .draws = 1});
      EXPECT_EQ(data.items[0].gold, (std::vector<int>{0}));
      EXPECT_EQ(data.items[1].gold, (std::vector<int>{1}));
    });
  };
  for (const char* split : {"valid", "train"}) {
    const std::string file = (piqa / split).string() + "-labels.lst", records = (piqa / split).string() + ".jsonl";
    const auto expect = [&](const std::string& labels, const std::string& expected) {
      EXPECT_EQ(error(split, labels, record + record), expected.empty() ? "" : file + expected);
    };
    for (const char* good : {"0\n1\n", "0\n1", "0\r\n1\r\n",
                             "\xEF\xBB\xBF"
                             "0\n1\n",
                             " 0\n1\t\n"})
      expect(good, "");
    expect("0\n2\n", ":2: label: expected one of 0, 1, got 2");
    expect("0\nright\n", ":2: label: expected one of 0, 1, got right");
    expect("0\n1\n1\n", ":3: expected 2 labels, one per record, got more");
    expect("0\n", ": expected 2 labels, one per record, got 1");
    expect("", ": expected 2 labels, one per record, got 0");
    expect("0\n\n", ":2: expected a label, got a blank line");
    expect("0\n\xe9\n", ":2: expected UTF-8 text, got byte 0xe9 at byte 1 of the line");
    expect(std::string("0\n1\0\n", 5), ":2: expected UTF-8 text, got byte 0x00 at byte 2 of the line");
    expect(
        "\xff\xfe"
        "0",
        ":1: expected UTF-8, got UTF-16 (convert it: iconv -f UTF-16 -t UTF-8)");
    const std::string labelled = "{\"goal\":\"g\",\"sol1\":\"a\",\"sol2\":\"b\",\"label\":0}\n";
    EXPECT_EQ(error(split, "0\n1\n", labelled + labelled),
              file + ":2: expected the label that " + records + ":2 has itself, 0, got 1");
  }
}

TEST(BrokenTasks, RecordsThatALimitLeavesOutAreCheckedToo) {
  const test::TemporaryFolder folder;
  const TaskFile task = select_tasks(load_tasks({}), {"sst2"}).front();
  fs::create_directories(folder / "sst2");
  const TaskOptions options{.data_dir = folder.path(), .limit = 1};
  std::ofstream(folder / "sst2/dev.tsv") << "sentence\tlabel\na\t1\nb\t1\nc\t0\n";
  const TaskData data = load_task_data(task, options);
  EXPECT_EQ(data.items.size(), 1u);
  EXPECT_EQ(data.left_out, (std::map<std::string, int64_t>{{"", 2}}));
  std::ofstream(folder / "sst2/dev.tsv") << "sentence\tlabel\na\t1\nb\t1\nc\t7\n";
  EXPECT_EQ(test::error_of([&] { load_task_data(task, options); }),
            (folder / "sst2/dev.tsv").string() + ":4: label: expected one of 0, 1, got 7");
}

}  // namespace
}  // namespace troupe
