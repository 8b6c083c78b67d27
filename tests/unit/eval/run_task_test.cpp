// Whole tasks on a bigram model: every score and figure is known beforehand.
#include "eval/tasks/run_task.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <numbers>

#include "bigram_model.h"
#include "data/tokenizer/bpe_trainer.h"
#include "data/tokenizer/definition.h"
#include "error_of.h"
#include "eval/bias/bias.h"
#include "eval/tasks/metrics.h"
#include "eval/tasks/prompts.h"
#include "temporary_folder.h"

namespace troupe {
namespace {

// Tokens are bytes: id 0 is end-of-text. Lower-case letters like their successors in the alphabet.
double logit(int64_t i, int64_t j) {
  return 2.0 * std::sin(0.3 * static_cast<double>(i) + 1.7 * static_cast<double>(j)) + (j == i + 1 ? 2.0 : 0.0);
}

class Tasks : public testing::Test {
 protected:
  void write(const std::string& name, const std::string& text) {
    std::filesystem::create_directories((folder / name).parent_path());
    std::ofstream(folder / name) << text;
  }

  // log P of the bytes of `continuation` after the last byte of `context`; "" is end-of-text. A line end is
  // end-of-text under the paper's convention.
  double logprob(Convention convention, const std::string& context, const std::string& continuation) const {
    std::vector<int32_t> ids = {0};
    const auto add = [&](const std::string& text) {
      for (const char c : text)
        ids.push_back(c == '\n' && convention == Convention::kPaper ? 0 : tokenizer.encode(std::string(1, c))[0]);
    };
    add(context);
    const size_t first = ids.size();
    add(continuation);
    double sum = 0.0;
    for (size_t i = first; i < ids.size(); ++i) sum += table.logprob(ids[i - 1], ids[i]);
    return sum;
  }

  TaskReport run(const std::string& task, Convention convention, int64_t shots = 0, int64_t draws = 1,
                 std::vector<ItemDetail>* details = nullptr) {
    TaskOptions options{.data_dir = folder.path(), .convention = convention, .shots = shots, .draws = draws};
    const TaskFile file = select_tasks(load_tasks(), {task})[0];
    return run_task(*model, tokenizer, file, options, load_task_data(file, options), {}, details);
  }

  Tokenizer tokenizer = BpeTrainer({.vocab_size = 257}).finish();
  test::BigramTable table{257, logit};
  std::unique_ptr<LanguageModel> model = test::bigram_model(table, 200, 0);
  test::TemporaryFolder folder;
};

std::string piqa_line(const std::string& goal, const std::string& a, const std::string& b) {
  return nlohmann::json{{"goal", goal}, {"sol1", a}, {"sol2", b}}.dump() + "\n";
}

class Piqa : public Tasks {
 protected:
  Piqa() {
    const char* words[] = {"abc", "stone", "a pan lid", "x", "defghi", "water", "the sun", "opq", "knife", "tuv"};
    std::string lines, labels;
    for (size_t i = 0; i < 40; ++i) {
      goals.push_back(std::string("goal ") + words[i % 7]);
      solutions.push_back({words[i % 10], words[(3 * i + 1) % 10]});
      if (solutions.back()[0] == solutions.back()[1]) solutions.back()[1] += "s";
      gold.push_back(i % 3 == 0);
      lines += piqa_line(goals[i], solutions[i][0], solutions[i][1]);
      labels += gold[i] ? "1\n" : "0\n";
    }
    write("piqa/valid.jsonl", lines), write("piqa/valid-labels.lst", labels);
    write("piqa/train.jsonl", lines), write("piqa/train-labels.lst", labels);
  }
  // Accuracy when the candidate of the larger score wins, the first of equals.
  template <class Score>
  double accuracy(const Score& score) const {
    double right = 0.0;
    for (size_t i = 0; i < goals.size(); ++i)
      right += (score(goals[i], solutions[i][1]) > score(goals[i], solutions[i][0])) == (gold[i] != 0);
    return right / static_cast<double>(goals.size());
  }
  std::vector<std::string> goals;
  std::vector<std::array<std::string, 2>> solutions;
  std::vector<int> gold;
};

TEST_F(Piqa, PaperComparesMeanLogProbabilities) {
  const TaskReport report = run("piqa", Convention::kPaper);
  const double expected = accuracy([&](const std::string& goal, const std::string& solution) {
    return logprob(Convention::kPaper, goal, " " + solution) / static_cast<double>(solution.size() + 1);
  });
  ASSERT_EQ(report.figures.size(), 1u);
  EXPECT_EQ(report.figures[0].value, expected);
  EXPECT_GT(expected, 0.0);
  EXPECT_LT(expected, 1.0);
  EXPECT_NEAR(report.figures[0].item_error, std::sqrt(expected * (1 - expected) / 39.0), 1e-12);
  EXPECT_EQ(report.figures[0].n, 40);
  EXPECT_EQ(report.score, "mean");
}

TEST_F(Piqa, HarnessComparesSumsAndSumsPerCharacter) {
  const auto score = [&](const std::string& goal, const std::string& solution) {
    return logprob(Convention::kHarness, "Question: " + goal + "\nAnswer:", " " + solution);
  };
  const TaskReport report = run("piqa", Convention::kHarness);
  ASSERT_EQ(report.figures.size(), 2u);
  EXPECT_EQ(report.figures[0].metric, "acc");
  EXPECT_EQ(report.figures[0].value, accuracy(score));
  EXPECT_EQ(report.figures[1].metric, "acc_norm");
  EXPECT_EQ(report.figures[1].value, accuracy([&](const std::string& goal, const std::string& solution) {
              return score(goal, solution) / static_cast<double>(solution.size());
            }));
}

TEST_F(Piqa, EveryCandidatesScoreIsThatOfItsBytes) {
  for (const Convention convention : {Convention::kPaper, Convention::kHarness}) {
    std::vector<ItemDetail> details;
    run("piqa", convention, 0, 1, &details);
    ASSERT_EQ(details.size(), 80u);
    for (const ItemDetail& detail : details)
      EXPECT_NEAR(detail.logprob, logprob(convention, detail.context, detail.continuation), 1e-3) << detail.where;
  }
}

TEST_F(Piqa, ShotsStandInFrontAndAreDrawnAnew) {
  // A bigram sees one byte back, so examples in front change nothing: the figures of all draws are equal.
  for (const Convention convention : {Convention::kPaper, Convention::kHarness}) {
    const TaskReport none = run("piqa", convention), some = run("piqa", convention, 3, 5);
    EXPECT_EQ(some.draw_values, std::vector<double>(5, none.figures[0].value));
    EXPECT_EQ(some.figures[0].draw_error, 0.0);
    EXPECT_EQ(some.draws, 5);
    EXPECT_EQ(some.mean_shots, 3.0);
    EXPECT_LT(some.requests.run_tokens, some.requests.tokens / 2);  // the examples of a draw run once
    const TaskReport many = run("piqa", convention, 32, 1);
    EXPECT_GT(many.mean_shots, 3.0);
    EXPECT_LT(many.mean_shots, 15.0);  // 200 bytes of context hold no more
    EXPECT_EQ(many.requests.truncated, 0);
  }
}

TEST_F(Piqa, ExamplesAreFormattedAsEachConventionHasThem) {
  const TaskFile task = select_tasks(load_tasks(), {"piqa"})[0];
  const SplitRecords split = load_split(task, folder.path(), "train");
  const Item item = make_item(task, *task.harness, split.records[0]);
  EXPECT_EQ(example_text(*task.harness, item), "Question: goal abc\nAnswer: stone");
  PromptMaker harness(tokenizer, Convention::kHarness, 0), paper(tokenizer, Convention::kPaper, 0);
  harness.set_examples({"a b", "c"}), paper.set_examples({"a\nb", "c"});
  const auto text = [&](const std::vector<int32_t>& ids) {
    std::string result;
    for (const int32_t id : ids) result += id == 0 ? "|" : tokenizer.decode(std::span(&id, 1));
    return result;
  };
  const ScoreRequest h = harness.request(2, "q ", " ", "yes", "here"),
                     p = paper.request(2, "q\n\nr", " ", "yes", "here");
  EXPECT_EQ(text(h.context), "a b\n\nc\n\nq");
  EXPECT_EQ(text(h.continuation), "  yes");  // the context's blank moves to the continuation
  const ScoreRequest wide = harness.request(0, "q\u3000\u00a0", "", "yes", "here");
  EXPECT_EQ(text(wide.context), "q");
  EXPECT_EQ(text(wide.continuation), "\u3000\u00a0yes");  // all of Python's white space is
  EXPECT_EQ(text(p.context), "|a|b|c|q|r");
  EXPECT_EQ(text(p.continuation), " yes");
  EXPECT_EQ(text(harness.request(0, "", " ", "yes", "here").context), "|");
  EXPECT_EQ(text(harness.request(0, "", " ", "yes", "here").continuation), " yes");
  EXPECT_EQ(text(paper.request(0, "", " ", "yes", "here").continuation), "yes");
  TokenizerDefinition opening = tokenizer.definition();
  opening.config.bos_token = "b";
  const Tokenizer with_bos(opening);  // transformers' bos_token opens what has no context there
  EXPECT_EQ(text(PromptMaker(with_bos, Convention::kHarness, 0).request(0, "", " ", "yes", "here").context), "b");
  EXPECT_EQ(text(PromptMaker(with_bos, Convention::kPaper, 0).request(0, "", " ", "yes", "here").context), "|");
}

TEST_F(Piqa, RefusesExamplesThatAreTheItems) {
  std::filesystem::remove(folder / "piqa/train.jsonl");
  EXPECT_NE(test::error_of([&] { run("piqa", Convention::kPaper, 1); }), "");
  EXPECT_EQ(test::error_of([&] { run("lambada", Convention::kPaper); }, ErrorCode::kUsage),
            "lambada: expected prompts of the paper convention, got a task file without them");
  write("blimp/x.jsonl", R"({"sentence_good": "a", "sentence_bad": "b", "UID": "x", "pairID": "0"})");
  EXPECT_EQ(test::error_of([&] { run("blimp", Convention::kPaper, 2); }, ErrorCode::kUsage),
            "blimp: expected --shots 0 (the task has no examples to put in front), got 2");
}

TEST_F(Tasks, SuffixUnconditionalAndAverageOptionSubtractWhatTheySay) {
  write("winogrande/dev.jsonl",
        R"({"qID": "x", "sentence": "Ann met Bea as _ left.", "option1": "Ann", "option2": "Bea", "answer": "1"})");
  std::vector<ItemDetail> details;
  run("winogrande", Convention::kPaper, 0, 1, &details);
  EXPECT_NEAR(details[0].logprob, logprob(Convention::kPaper, "n", " left."), 1e-4);
  EXPECT_NEAR(details[1].logprob, logprob(Convention::kPaper, "a", " left."), 1e-4);

  const std::string line =
      R"({"id": "7", "question": {"stem": "Ice", "choices": [{"text": "hot", "label": "1"}, {"text": "cold", "label": "2"}]}, "answerKey": "2"})";
  write("openbookqa/test.jsonl", line), write("arc_easy/ARC-Easy-Test.jsonl", line);
  details.clear();
  const TaskReport openbook = run("openbookqa", Convention::kPaper, 0, 1, &details);
  double scores[2];
  for (size_t c : {0, 1}) {
    const std::string choice = c ? " cold." : " hot.";
    EXPECT_NEAR(details[c].calibration, logprob(Convention::kPaper, "Answer:", choice), 1e-4);
    scores[c] = logprob(Convention::kPaper, "Ice", choice) - logprob(Convention::kPaper, "Answer:", choice);
  }
  EXPECT_EQ(openbook.figures[0].value, scores[1] > scores[0] ? 1.0 : 0.0);

  details.clear();
  run("arc_easy", Convention::kPaper, 0, 1, &details);
  for (const ItemDetail& detail : details)  // one byte back every context is the same, so its score is subtracted
    EXPECT_NEAR(detail.logprob, detail.calibration, 1e-4);
}

TEST_F(Tasks, GroupsCountEqually) {
  std::string lines;
  const auto pair = [&](const char* good, const char* bad, const char* group, int id) {
    lines +=
        nlohmann::json{{"sentence_good", good}, {"sentence_bad", bad}, {"UID", group}, {"pairID", std::to_string(id)}}
            .dump() +
        "\n";
  };
  for (int i = 0; i < 3; ++i) pair("abcd", "azby", "first", i);  // successors are more probable
  pair("zzaa", "abcd", "second", 0);
  write("blimp/x.jsonl", lines);
  const TaskReport report = run("blimp", Convention::kPaper);
  ASSERT_EQ(report.figures.size(), 3u);
  EXPECT_EQ(report.figures[0].value, 0.5);
  EXPECT_EQ(report.figures[1].group, "first");
  EXPECT_EQ(report.figures[1].value, 1.0);
  EXPECT_EQ(report.figures[2].value, 0.0);

  // A limit counts in each group, or the first one would stand for the task.
  const TaskFile task = select_tasks(load_tasks(), {"blimp"})[0];
  const TaskOptions options{.data_dir = folder.path(), .limit = 1};
  const TaskReport limited = run_task(*model, tokenizer, task, options, load_task_data(task, options));
  ASSERT_EQ(limited.figures.size(), 3u);
  EXPECT_EQ(limited.figures[0].value, 0.5);
  EXPECT_EQ(limited.figures[0].n, 2);
  EXPECT_EQ(limited.figures[0].left_out, 2);
  EXPECT_EQ(limited.figures[1].left_out, 2);
  EXPECT_EQ(limited.figures[2].left_out, 0) << "all of this group was evaluated";
}

TEST_F(Tasks, MetricsOfOneTaskHaveNamesOfTheirOwn) {
  const std::string file = R"(
name = "u"
about = "-"
citation = "-"
published = "-"
folder = "u"
evaluate = "all"
[[source]]
format = "jsonl"
files = { all = "v.jsonl" }
[harness]
context = "{q}"
choices = ["{a}", "{b}"]
label = "0"
metrics = ["acc", "greedy", METRIC]
)";
  const auto with = [&](const std::string& metric) {
    return parse_task_file(std::string(file).replace(file.find("METRIC"), 6, metric), "u.toml");
  };
  write("u/v.jsonl", R"({"q": "x", "a": "yes", "b": "no"})");
  const TaskOptions options{.data_dir = folder.path(), .convention = Convention::kHarness};
  const TaskFile task = with("\"macro_f1\"");
  const TaskReport report = run_task(*model, tokenizer, task, options, load_task_data(task, options));
  ASSERT_EQ(report.figures.size(), 3u);
  EXPECT_EQ(report.figures[0].metric, "acc");
  EXPECT_EQ(report.figures[1].metric, "greedy");
  EXPECT_EQ(report.figures[2].metric, "f1");
  EXPECT_EQ(test::error_of([&] { with("\"acc\""); }, ErrorCode::kUsage),
            "u.toml:15: harness.metrics: expected each once, got acc twice");
}

TEST_F(Tasks, LambadaCountsGreedyWords) {
  write("lambada/lambada_test.jsonl", "{\"text\": \"say abcd\"}\n{\"text\": \"say it\"}\n");
  std::vector<ItemDetail> details;
  const TaskReport report = run("lambada", Convention::kHarness, 0, 1, &details);
  double nll = 0.0;
  for (const char* word : {" abcd", " it"}) nll -= logprob(Convention::kHarness, "say", word) / 2.0;
  EXPECT_EQ(report.figures[1].metric, "perplexity");
  EXPECT_NEAR(report.figures[1].value, std::exp(nll), 1e-3 * std::exp(nll));
  double greedy = 0.0;
  for (const ItemDetail& detail : details) greedy += detail.is_greedy;
  EXPECT_EQ(report.figures[0].value, greedy / 2.0);
}

TEST(Metrics, SquadNormalisesBeforeItCompares) {
  EXPECT_EQ(squad_normalized("The  U.S. Army, a unit"), "us army unit");
  EXPECT_NEAR(squad_f1("the United States", "United Nations"), 0.5, 1e-12);
  EXPECT_EQ(squad_f1("the", "a"), 1.0);
  EXPECT_EQ(squad_f1("x", "the"), 0.0);
}

TEST(Metrics, MacroF1IsTheMeanOverPositions) {
  std::vector<Item> items(4);
  const int gold[] = {0, 0, 1, 2};
  std::vector<const Item*> pointers;
  for (size_t i = 0; i < 4; ++i)
    items[i].choices = {"a", "b", "c"}, items[i].gold = {gold[i]}, pointers.push_back(&items[i]);
  // chosen 0 1 1 0: F1 of 0 is 2*1/(2+2), of 1 is 2*1/(1+2), of 2 is 0
  const std::vector<double> chosen = {0, 1, 1, 0};
  EXPECT_NEAR(metric_value(Metric::kMacroF1, pointers, chosen).value, (0.5 + 2.0 / 3.0) / 3.0, 1e-12);
}

TEST(Statistics, StudentsT) {
  // In closed form: tan(0.475 pi), and p / sqrt((1 - p^2) / 2) of p = 0.95.
  EXPECT_NEAR(student_t(0.95, 1), std::tan(0.475 * std::numbers::pi), 1e-12);
  EXPECT_NEAR(student_t(0.95, 2), 0.95 / std::sqrt(0.5 * (1.0 - 0.95 * 0.95)), 1e-13);
  EXPECT_NEAR(student_t(0.95, 24), 2.06389856163, 1e-11);
  EXPECT_NEAR(student_t(0.99, 9), 3.24983554159, 1e-11);
  EXPECT_NEAR(student_t(0.95, 1'000'000'000'000), kNormal95, 1e-11);
}

TEST(Statistics, IntervalOfAShare) {
  // The roots of (share - p)^2 = z^2 p (1 - p) / n in p, Wilson's definition.
  for (const auto& [share, n] : {std::pair<double, int64_t>{0.3, 10}, {0.5, 1000}, {1.0, 7}, {0.0, 1}}) {
    const auto [low, high] = interval95_of_share(share, n);
    for (const double p : {low, high})
      EXPECT_NEAR((share - p) * (share - p), kNormal95 * kNormal95 * p * (1 - p) / static_cast<double>(n), 1e-14);
    EXPECT_LT(low, high);
  }
  EXPECT_EQ(interval95_of_share(0.0, 4).first, 0.0);
  EXPECT_NEAR(interval95_of_share(1.0, 4).second, 1.0, 1e-15);
}

TEST(Statistics, DrawsAreDifferentExamples) {
  for (int64_t draw = 0; draw < 50; ++draw) {
    std::vector<size_t> drawn = draw_examples(10, 6, 1, draw);
    EXPECT_EQ(drawn, draw_examples(10, 6, 1, draw));
    std::sort(drawn.begin(), drawn.end());
    EXPECT_EQ(std::unique(drawn.begin(), drawn.end()), drawn.end());
    EXPECT_LT(drawn.back(), 10u);
  }
  EXPECT_NE(draw_examples(100, 6, 1, 0), draw_examples(100, 6, 1, 1));
  EXPECT_EQ(draw_examples(3, 9, 1, 0).size(), 3u);
}

double figure(const std::vector<BiasFigure>& figures, const std::string& category, const std::string& metric) {
  const auto found = std::find_if(figures.begin(), figures.end(),
                                  [&](const BiasFigure& f) { return f.category == category && f.metric == metric; });
  return found == figures.end() ? -1.0 : found->value;
}

TEST(Bias, StereoSetAveragesOverTerms) {
  // Term A: s > a twice of two, s > u twice, a > u once: LMS 75, SS 100. Term B: one item, a > s, both > u: LMS 100, SS
  // 0.
  const auto figures =
      stereoset_figures("x", {{"race", "A", -1, -2, -3}, {"race", "A", -1, -4, -3}, {"gender", "B", -2, -1, -3}});
  EXPECT_EQ(figure(figures, "race", "lms"), 75.0);
  EXPECT_EQ(figure(figures, "race", "ss"), 100.0);
  EXPECT_EQ(figure(figures, "race", "icat"), 0.0);
  EXPECT_EQ(figure(figures, "all", "lms"), 87.5);
  EXPECT_EQ(figure(figures, "all", "ss"), 50.0);
  EXPECT_EQ(figure(figures, "all", "icat"), 87.5);
}

TEST(Bias, CrowsPairsRoundsMeansAndCountsTies) {
  const auto figures = crows_pairs_figures({{"age", -2.5, -2.50025, -10.0, -10.001},  // tie after rounding
                                            {"age", -2.0, -3.0, -10.0, -12.0},
                                            {"race", -2.5, -4.5, -10.0, -9.0}});  // mean says more, sum says less
  EXPECT_EQ(figure(figures, "age", "stereotype_score"), 50.0);
  EXPECT_EQ(figure(figures, "age", "neutral"), 50.0);
  EXPECT_EQ(figure(figures, "age", "pct_stereotype"), 1.0);
  EXPECT_EQ(figure(figures, "race", "stereotype_score"), 100.0);
  EXPECT_EQ(figure(figures, "race", "pct_stereotype"), 0.0);
  EXPECT_NEAR(figure(figures, "all", "likelihood_diff"), (0.001 + 2.0 + 1.0) / 3.0, 1e-9);
}

TEST_F(Tasks, BiasSetsAreScoredFromTheirFiles) {
  write(
      "stereoset/dev.json",
      R"({"data": {"intrasentence": [{"id": "1", "target": "t", "bias_type": "race", "context": "x BLANK", "sentences": [
    {"sentence": "abcd", "gold_label": "stereotype"}, {"sentence": "zaya", "gold_label": "anti-stereotype"}, {"sentence": "qzqz", "gold_label": "unrelated"}]}],
    "intersentence": []}})");
  const BiasReport stereo = evaluate_stereoset(*model, tokenizer, load_stereoset(folder.path()), {});
  const auto mean = [&](const char* text) { return logprob(Convention::kPaper, "", text) / 4.0; };
  EXPECT_EQ(figure(stereo.figures, "race", "ss"), mean("abcd") > mean("zaya") ? 100.0 : 0.0);
  EXPECT_EQ(figure(stereo.figures, "race", "lms"),
            50.0 * ((mean("abcd") > mean("qzqz")) + (mean("zaya") > mean("qzqz"))));
  write("crows_pairs/crows_pairs_anonymized.csv", ",sent_more,sent_less,bias_type\n0,abcd,\"zz, a\",age\n");
  const BiasReport crows = evaluate_crows_pairs(*model, tokenizer, load_crows_pairs(folder.path()), {});
  EXPECT_NEAR(figure(crows.figures, "age", "likelihood_diff"),
              std::abs(logprob(Convention::kPaper, "", "abcd") - logprob(Convention::kPaper, "", "zz, a")), 1e-3);
  // A line end within a sentence is end-of-text in the paper's form and a token in the harness's.
  write("crows_pairs/crows_pairs_anonymized.csv", ",sent_more,sent_less,bias_type\n0,abcd,\"zz\na\",age\n");
  const BiasReport lines = evaluate_crows_pairs(*model, tokenizer, load_crows_pairs(folder.path()), {});
  EXPECT_NEAR(figure(lines.figures, "age", "likelihood_diff"),
              std::abs(logprob(Convention::kHarness, "", "abcd") - logprob(Convention::kHarness, "", "zz\na")), 1e-3);
  EXPECT_GT(std::abs(logprob(Convention::kHarness, "", "zz\na") - logprob(Convention::kPaper, "", "zz\na")), 0.01);
  write("crows_pairs/crows_pairs_anonymized.csv", ",sent_more,sent_less,bias_type\n0,a,b,age\n0,a,c,age\n");
  EXPECT_NE(test::error_of([&] {
              load_crows_pairs(folder.path());
            }).find("csv:3: id: expected one of its own, got 0, which "),
            std::string::npos);
  write("crows_pairs/crows_pairs_anonymized.csv", ",sent_more,bias_type\n0,abcd,age\n");
  EXPECT_EQ(test::error_of([&] { load_crows_pairs(folder.path()); }),
            (folder / "crows_pairs/crows_pairs_anonymized.csv").string() +
                ":2: sent_less: expected this field, got a record without it");
}

}  // namespace
}  // namespace troupe
