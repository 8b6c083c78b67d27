#include "eval/tasks/task_file.h"

#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "base/rng.h"
#include "error_of.h"
#include "eval/tasks/builtin_tasks.h"
#include "eval/tasks/items.h"
#include "temporary_folder.h"

namespace troupe {
namespace {

const std::string kTask = R"(name = "mine"
about = "a"
citation = "c"
published = "p"
folder = "mine"
evaluate = "test"
shots = "train"
id = "{id}"

[[source]]
format = "jsonl"
files = { test = "test.jsonl", train = "train.jsonl" }

[paper]
context = "{q}"
choices = ["{a}", "{b}"]
label = "{right}"
labels = ["A", "B"]
score = "mean"
)";

std::string changed(const std::string& from, const std::string& to) {
  std::string text = kTask;
  text.replace(text.find(from), from.size(), to);
  return text;
}
std::string error(const std::string& text) {
  return test::error_of([&] { parse_task_file(text, "mine.toml"); }, ErrorCode::kUsage);
}

TEST(TaskFile, RefusesWhatItDoesNotKnow) {
  EXPECT_EQ(error(changed("about =", "abuot =")), "mine.toml:1: about: expected a string, got no such key");
  EXPECT_EQ(error(changed("score = \"mean\"", "scroe = \"mean\"")),
            "mine.toml:19: paper.scroe: expected a known key, got this one (did you mean score?)");
  EXPECT_EQ(error(changed("\"mean\"", "\"average\"")),
            "mine.toml:19: paper.score: expected one of sum, mean, suffix, unconditional, average_option, got average");
  EXPECT_EQ(error(changed("{right}", "{right|stirp}")),
            "mine.toml:17: paper.label: expected a filter, got stirp (did you mean strip?)");
  EXPECT_EQ(error(changed("\"jsonl\"", "\"jsonlines\"")),
            "mine.toml:11: source.format: expected one of jsonl, json, csv, tsv, copa_xml, got jsonlines");
  EXPECT_EQ(error(changed("evaluate = \"test\"", "evaluate = \"dev\"")),
            "mine.toml:1: evaluate and shots: expected splits that a source has files for, got dev");
  EXPECT_EQ(error(changed("[paper]", "[papers]")),
            "mine.toml:1: paper: expected [paper], [harness] or both, got neither");
  EXPECT_EQ(error(changed("context = \"{q}\"", "context = 3")),
            "mine.toml:15: paper.context: expected a string or a list of strings, got a number");
  EXPECT_EQ(error(changed("score = \"mean\"", "score = \"unconditional\"")),
            "mine.toml:14: paper.calibration: expected a context to compare with, got no such key");
  EXPECT_EQ(error("name = ").substr(0, 28), "mine.toml:1: expected TOML, ");
  EXPECT_EQ(error(changed("\"mine\"", "\"../mine\"")),
            "mine.toml:1: name: expected a name that a folder may have, got ../mine");
  EXPECT_EQ(error(changed("\"mine\"", "\"\"")), "mine.toml:1: name: expected a name that a folder may have, got none");
}

TEST(TaskFile, MutatedFilesParseOrGiveOneError) {
  Rng rng(4);
  for (int round = 0; round < 1500; ++round) {
    std::string mutated = kTask;
    for (uint64_t i = rng.below(4) + 1; i-- > 0;)
      mutated[rng.below(mutated.size())] = static_cast<char>(rng.below(256));
    try {
      parse_task_file(mutated, "x");
    } catch (const Error& failure) {
      EXPECT_EQ(failure.code(), ErrorCode::kUsage) << failure.what();
    }
  }
}

TEST(TaskFile, BuiltInOnesLoadAndFoldersReplaceThem) {
  EXPECT_GE(builtin_tasks().size(), 20u);
  const size_t built_in = load_tasks().size();
  test::TemporaryFolder folder;
  std::ofstream(folder / "a.toml") << kTask;
  std::ofstream(folder / "b.toml") << changed("\"mine\"", "\"piqa\"");
  const std::vector<TaskFile> tasks = load_tasks({folder.path()});
  EXPECT_EQ(tasks.size(), built_in + 1);
  EXPECT_EQ(select_tasks(tasks, {"piqa"})[0].about, "a");
  EXPECT_EQ(select_tasks(tasks, {"mine", "piqa"}).size(), 2u);
  EXPECT_TRUE(select_tasks(tasks, {"piqa"})[0].replaces.starts_with("built-in piqa"));
  EXPECT_EQ(select_tasks(tasks, {"mine"})[0].replaces, "");
  EXPECT_EQ(test::error_of([&] { select_tasks(tasks, {"piqa", "mine", "piqa"}); }, ErrorCode::kUsage),
            "--tasks: expected each task once, got piqa twice");
  EXPECT_EQ(test::error_of([&] { select_tasks(tasks, {"piqa", "all"}); }, ErrorCode::kUsage),
            "--tasks: expected all or names, got both");
  EXPECT_EQ(
      test::error_of([&] { select_tasks(tasks, {"hellswag"}); }, ErrorCode::kUsage),
      "--tasks: expected known tasks, got hellswag (did you mean hellaswag? `troupe eval tasks --list` shows them)");
  std::ofstream(folder / "c.toml") << kTask;
  EXPECT_EQ(test::error_of([&] { load_tasks({folder.path()}); }, ErrorCode::kUsage),
            (folder / "c.toml").string() + ": name: expected a name of its own, got mine, which " +
                (folder / "a.toml").string() + " has");
}

class TaskData : public testing::Test {
 protected:
  void write(const std::string& name, const std::string& text) {
    std::filesystem::create_directories(folder / "mine");
    std::ofstream(folder / "mine" / name) << text;
  }
  std::string path(const std::string& name) { return (folder / "mine" / name).string(); }
  std::string error(const std::string& records, const std::string& task = kTask) {
    write("test.jsonl", records);
    return test::error_of([&] {
      const TaskFile file = parse_task_file(task, "mine.toml");
      for (const Record& record : load_split(file, folder.path(), "test").records) make_item(file, *file.paper, record);
    });
  }
  test::TemporaryFolder folder;
};

TEST_F(TaskData, ErrorsNameFileLineAndField) {
  const std::string good = "{\"id\": 1, \"q\": \"Q\", \"a\": \"x\", \"b\": \"y\", \"right\": \"B\"}\n";
  EXPECT_EQ(error(good), "");
  const auto bad = [&](const std::string& from, const std::string& to) {
    std::string line = good;
    line.replace(line.find("\"id\": 1"), 7, "\"id\": 2");
    line.replace(line.find(from), from.size(), to);
    return error(good + line);
  };
  const std::string where = path("test.jsonl") + ":2: ";
  EXPECT_EQ(bad("\"q\"", "\"q2\""), where + "context: q: expected this field, got a record without it (nearest: a)");
  EXPECT_EQ(bad("\"B\"", "\"C\""), where + "label: expected one of A, B, got C");
  EXPECT_EQ(bad("\"x\"", "\" \""), where + "choices[0]: expected text, got an empty choice");
  EXPECT_EQ(bad("\"x\"", "null"), where + "choices: a: expected text, got null");
  EXPECT_EQ(bad("\"id\": 2", "\"id\": 1"),
            where + "id: expected one of its own, got 1, which " + path("test.jsonl") + ":1 has");
  EXPECT_EQ(bad("x", "\xff"), path("test.jsonl") + ":2: expected UTF-8 text, got byte 0xff at byte 27 of the line");
  EXPECT_EQ(error(""), path("test.jsonl") + ": expected at least one record, got none");
}

TEST_F(TaskData, MissingFilesAreNamedWithTheirSource) {
  const TaskFile task = parse_task_file(kTask, "mine.toml");
  EXPECT_EQ(test::error_of([&] { load_split(task, folder.path(), "test"); }),
            "mine: test: expected test.jsonl in " + (folder / "mine").string() + ", got no such file (published: p)");
}

TEST_F(TaskData, TheChecksumIsThatOfTheContent) {
  const TaskFile task = parse_task_file(kTask, "mine.toml");
  write("test.jsonl", "{\"id\": 1}\n");
  const std::string checksum = load_split(task, folder.path(), "test").checksum;
  write("test.jsonl", "{\"id\": 2}\n");
  EXPECT_NE(load_split(task, folder.path(), "test").checksum, checksum);
}

}  // namespace
}  // namespace troupe
