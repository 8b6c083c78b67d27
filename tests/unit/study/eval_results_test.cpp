#include "study/eval_results.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/rng.h"
#include "error_of.h"
#include "study/eval_page.h"

namespace troupe {
namespace {

const std::string kModel =
    R"("data_checksum":"d","model":"m","model_checksum":"c","params":10,"active_params":5,"experts":4,"train_tokens":2.0,"train_flops":6e12})";
const std::string kTaskStart = R"({"schema":"troupe.eval.tasks/1","task":"piqa","convention":"paper","metric":"acc",)";
std::string task_line(int shots, const std::string& value) {
  return kTaskStart + "\"value\":" + value + R"(,"stderr":0.1,"n":20,"chance":0.5,"shots":)" + std::to_string(shots) +
         R"(,"group":null,"interval":[0.5,0.9],)" + kModel + "\n";
}
const std::string kPerplexity =
    R"({"schema":"troupe.eval.ppl/1","data":"books","nll":3.5,"stderr":null,"documents":7,"mode":"blocks",)" + kModel +
    "\n";
const std::string kBias =
    R"({"schema":"troupe.eval.bias/1","set":"crows_pairs","category":"all","convention":"harness","metric":"pct_stereotype","value":0.5,"n":9,"stderr":0.2,)" +
    kModel + "\n";

EvalResults read(const std::string& text, const std::string& name = "") {
  EvalResults results;
  read_eval_results(text, "f", name, results);
  return results;
}
std::string error(const std::string& text) {
  return test::error_of([&] { read(text); });
}

TEST(EvalResults, HoldFiguresOfEverySchemaOnce) {
  const EvalResults results =
      read(task_line(0, "0.7") + "\n" + kPerplexity + kBias + R"({"schema":"troupe.eval.tasks.average/1"})");
  ASSERT_EQ(results.figures.size(), 3u);
  ASSERT_EQ(results.models.size(), 1u);
  EXPECT_EQ(results.models[0].family(), "MoE, 4 experts");
  EXPECT_EQ(results.figures[0].half_interval, 0.2);
  EXPECT_TRUE(std::isnan(results.figures[1].half_interval));
  EXPECT_EQ(read(kBias, "mine").models[0].name, "mine");
}

TEST(EvalResults, NameTheLineAndFieldThatIsWrong) {
  EXPECT_EQ(error(task_line(0, "0.7") + task_line(0, "0.8")),
            "f:2: expected a figure once for each model, got piqa acc with 0 shots of m again");
  EXPECT_EQ(error("\n" + task_line(0, "\"x\"")), "f:2: value: expected a number, got \"x\"");
  EXPECT_EQ(error("[]"), "f:1: expected a JSON object, got []");
  EXPECT_EQ(error(kTaskStart + kModel), "f:1: value: expected a value, got no such key");
  EXPECT_EQ(error("{}"), "f:1: schema: expected a value, got no such key");
  EXPECT_EQ(error(task_line(-1, "0.7")), "f:1: shots: expected a count, got -1");
  EXPECT_NE(error(R"({"schema":"troupe.train/1","stderr":1,)" + kModel).find("f:1: schema: expected troupe.eval"),
            std::string::npos);
  std::string other = kPerplexity;
  other.replace(other.find("\"c\""), 3, "\"e\"");
  EXPECT_NE(error(kBias + other).find("f:2: model_checksum: expected c"), std::string::npos);
}

TEST(EvalResults, MutatedLinesGiveFiguresOrOneError) {
  const std::string text = task_line(0, "0.7") + kPerplexity + kBias;
  Rng rng(3);
  for (int round = 0; round < 3000; ++round) {
    std::string mutated = text;
    for (uint64_t i = rng.below(3) + 1; i-- > 0;)
      mutated[rng.below(mutated.size())] = static_cast<char>(rng.below(256));
    if (rng.below(4) == 0) mutated.resize(rng.below(mutated.size()));
    try {
      read(mutated);
    } catch (const Error& failure) {
      EXPECT_EQ(failure.code(), ErrorCode::kData) << failure.what();
    }
  }
}

TEST(EvalPage, ShowsGainsAndSaysWhatIsNotComparable) {
  std::string other = task_line(0, "0.6");
  other.replace(other.find("\"n\":20"), 6, "\"n\":19");
  EvalResults results = read(task_line(0, "0.7") + task_line(2, "0.75"), "<a>");
  read_eval_results(other, "f", "b", results);
  const std::string page = to_html(results, "T & T", "no-such-gnuplot");
  for (const char* part : {"T &amp; T", "&lt;a&gt;", "5.0 ± 20.0", "(different data)", "No charts: no-such-gnuplot"})
    EXPECT_NE(page.find(part), std::string::npos) << part;
  EXPECT_EQ(page.find("<a>"), std::string::npos);
}

TEST(EvalPage, MarksAPartOfTheDataAndKeepsItOutOfMeans) {
  std::string part = task_line(0, "0.7");
  part.insert(part.size() - 2, R"(,"left_out":1800)");
  const std::string copa = [] {
    std::string line = task_line(0, "0.9");
    return line.replace(line.find("piqa"), 4, "copa");
  }();
  const std::string page = to_html(read(part + copa), "T", "no-such-gnuplot");
  EXPECT_NE(page.find("piqa <span class=\"mark\">(a part of the data)</span></th>"), std::string::npos);
  EXPECT_NE(page.find("<td>20 of 1820</td>"), std::string::npos);
  EXPECT_EQ(page.find("copa <span"), std::string::npos);
  EXPECT_NE(page.find("in no mean"), std::string::npos);
  EXPECT_EQ(to_html(read(copa), "T", "no-such-gnuplot").find("in no mean"), std::string::npos);
}

TEST(EvalPage, KeepsErrorsOverItemsAndOverDrawsApart) {
  const std::string page = to_html(read(task_line(0, "0.7") + task_line(2, "0.75")), "T", "no-such-gnuplot");
  const size_t zero = page.find("<h2>Tasks, zero-shot</h2>"), few = page.find("<h2>Tasks with examples</h2>");
  ASSERT_NE(zero, page.npos);
  ASSERT_NE(few, page.npos);
  EXPECT_LT(page.find("70.0 ± 20.0"), few);
  EXPECT_GT(page.find("75.0 ± 20.0"), few);
}

TEST(EvalPage, ComparesTextsByDocuments) {
  const auto line = [](const std::string& scores) {
    std::string text = kPerplexity;
    return text.insert(text.size() - 2, ",\"document_scores\":" + scores);
  };
  EvalResults results = read(line("[[30,10],[41,10],[52,10]]"), "a");
  read_eval_results(line("[[20,10],[31,10],[42.1,10]]"), "g", "<b>", results);
  const std::string page = to_html(results, "T", "no-such-gnuplot");
  EXPECT_NE(page.find("&lt;b&gt; − a</td><td>3</td><td class=\"better\">-0.9967 ± 0.0143</td><td>better</td>"), page.npos)
      << page.substr(page.find("Differences"));
  EvalResults others = read(line("[[30,10],[41,10]]"), "a");
  read_eval_results(line("[[20,10],[31,11]]"), "g", "b", others);
  EXPECT_NE(to_html(others, "T", "no-such-gnuplot").find("No differences by document"), std::string::npos);
  EXPECT_EQ(error(line("[[30]]")), "f:1: document_scores[0]: expected a list of 2, got [30]");
}

TEST(EvalResults, TakeTheTrainingFromWhereverItIsKnown) {
  std::string unknown = kPerplexity;
  unknown.replace(unknown.find("2.0"), 3, "null"), unknown.replace(unknown.find("6e12"), 4, "null");
  EXPECT_EQ(read(unknown + kBias).models[0].facts.train_flops, 6e12);
  EXPECT_EQ(read(kBias + unknown).models[0].facts.train_flops, 6e12);
  std::string other = kPerplexity;
  other.replace(other.find("2.0"), 3, "3.0");
  EXPECT_EQ(error(kBias + other), "f:2: train_tokens: expected 2, as in other results of m, got 3 (--train-tokens)");
}

}  // namespace
}  // namespace troupe
