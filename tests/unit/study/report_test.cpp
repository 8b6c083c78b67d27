#include "study/report.h"

#include <fmt/core.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <limits>
#include <random>

#include "io/atomic_file.h"
#include "io/toml_config.h"
#include "study/html.h"
#include "temporary_folder.h"
#include "train/run_config.h"
#include "troupe/error.h"

namespace troupe {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

constexpr const char* kTrainLine =
    R"({"schema":"troupe.train/1","step":10,"loss":5.5,"ppl":244.7,"aux_loss":1.0,"lr":0.001,"grad_norm":1.5,)"
    R"("tokens":1000,"tokens_per_s":100,"mfu":null,"drop_rate":0,"time_s":10,)"
    R"("moe":[{"layer":1,"load":[0.25,0.75],"entropy":0.5,"overflow1":0,"overflow2":0.1,"unused_experts":0,)"
    R"("top20":0.75,"bottom20":0.25}]})";
constexpr const char* kValidLine =
    R"({"schema":"troupe.valid/1","step":10,"tokens":77,"data":"books","nll":5.25,"ppl":190.6,"bits_per_byte":1.9,)"
    R"("drop_rate":0})";

std::string error_of(const std::string& text) {
  try {
    parse_metrics(text, "metrics.jsonl");
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kData);
    return error.what();
  }
  return "no error";
}

std::string changed(std::string line, const std::string& from, const std::string& to) {
  line.replace(line.find(from), from.size(), to);
  return line + "\n";
}

TEST(MetricsHistory, ReadsTrainAndValidationLines) {
  const MetricsHistory history = parse_metrics(
      std::string(kTrainLine) + "\n{\"schema\":\"other/1\"}\n" + kValidLine + "\n{\"schema\":\"tro", "metrics.jsonl");
  ASSERT_EQ(history.train.size(), 1u);
  EXPECT_EQ(history.train[0].loss, 5.5);
  EXPECT_TRUE(std::isnan(history.train[0].mfu));
  ASSERT_EQ(history.train[0].routers.size(), 1u);
  EXPECT_THAT(history.train[0].routers[0].load_E, ::testing::ElementsAre(0.25, 0.75));
  ASSERT_EQ(history.valid.size(), 1u);
  EXPECT_EQ(history.valid[0].data, "books");
}

TEST(MetricsHistory, KnowsTheTokensOfAStepBetweenLines) {
  MetricsHistory history;
  history.train = {TrainPoint{}, TrainPoint{}};
  history.train[0].step = 10, history.train[0].tokens = 1000;
  history.train[1].step = 20, history.train[1].tokens = 3000;
  EXPECT_EQ(history.tokens_at(10), 1000);
  EXPECT_EQ(history.tokens_at(15), 2000);
  EXPECT_EQ(history.tokens_at(5), 500);
  EXPECT_EQ(history.tokens_at(99), 3000);
}

TEST(MetricsHistory, NamesLineAndKey) {
  EXPECT_EQ(error_of(std::string(kValidLine) + "\n" + changed(kTrainLine, "5.5", "\"x\"")),
            "metrics.jsonl:2: loss: expected a number, got \"x\"");
  EXPECT_EQ(error_of(changed(kTrainLine, "\"lr\"", "\"rl\"")),
            "metrics.jsonl:1: lr: expected a value, got no such key");
  EXPECT_EQ(error_of(changed(kTrainLine, "\"step\":10", "\"step\":1.5")),
            "metrics.jsonl:1: step: expected a whole number, got 1.5");
  EXPECT_EQ(error_of(changed(kTrainLine, "[0.25,0.75]", "1")), "metrics.jsonl:1: load: expected a list, got 1");
  EXPECT_EQ(error_of(changed(kValidLine, "\"books\"", "3")), "metrics.jsonl:1: data: expected a name, got 3");
  EXPECT_THAT(error_of("{\n"), HasSubstr("metrics.jsonl:1: column 2: expected JSON"));
  EXPECT_EQ(error_of("[]\n"), "metrics.jsonl:1: expected a JSON object, got []");
}

TEST(MetricsHistory, SurvivesBrokenBytes) {
  const std::string whole = std::string(kTrainLine) + "\n" + kValidLine + "\n";
  std::mt19937 random(5);
  for (int round = 0; round < 3000; ++round) {
    std::string text = whole;
    for (int change = 0; change < 3; ++change) text[random() % text.size()] = static_cast<char>(random() % 256);
    try {
      parse_metrics(text, "metrics.jsonl");
    } catch (const Error& error) {
      EXPECT_EQ(std::string(error.what()).rfind("metrics.jsonl:", 0), 0u) << error.what();
    }
  }
}

Report make() {
  Report report{.title = "A <b> & \"c\"", .notes = {"note's"}, .runs = {}, .comparisons = {}};
  for (const char* name : {"dense", "<moe>"}) {
    ReportRun run{.name = name};
    run.params = 2'000'000, run.active_params = name[0] == 'd' ? 2'000'000 : 1'500'000;
    run.flops_per_token = 1e7, run.tokens = 4e6, run.seconds = 100;
    for (int i = 1; i <= 60; ++i) {
      TrainPoint point;
      point.step = 10 * i, point.tokens = 1e5 * i, point.loss = 4 + 4.0 / i, point.lr = 1e-3, point.grad_norm = 1;
      point.tokens_per_s = 4e4;
      if (name[0] != 'd') point.routers.push_back({.layer = 1, .load_E = {0.25, 0.75}, .entropy = 0.6, .top20 = 0.75});
      run.metrics.train.push_back(point);
      if (i % 20 == 0)
        run.metrics.valid.push_back({.step = 10 * i, .tokens = 1, .data = "books", .nll = 5, .ppl = 148});
    }
    run.domains = {{.name = "books", .held_out = false, .nll = std::log(100.0), .bits_per_byte = 1.5},
                   {.name = "man<pages>", .held_out = true, .nll = std::log(200.0), .bits_per_byte = NAN}};
    run.samples = {{.prompt = "Once </script>", .text = " upon\n\x01\xff a time"}};
    run.config = "[model]\n# <!-- -->\n";
    report.runs.push_back(run);
  }
  report.runs[1].load = {{.layer = 1, .domains = {"books", "man<pages>"}, .share_NE = {{0.25, 0.75}, {1.0, 0.0}}}};
  report.comparisons = {{.baseline = "dense",
                         .model = "<moe>",
                         .domain = "books",
                         .held_out = false,
                         .difference = {.difference = -0.07, .standard_error = 0.01, .documents = 9, .tokens = 100}}};
  return report;
}

TEST(Report, EscapesEveryText) {
  const std::string html = to_html(make());
  EXPECT_THAT(html, HasSubstr("<title>A &lt;b&gt; &amp; &quot;c&quot;</title>"));
  EXPECT_THAT(html, HasSubstr("note&#39;s"));
  EXPECT_THAT(html, HasSubstr("&lt;moe&gt;"));
  EXPECT_THAT(html, HasSubstr("man&lt;pages&gt;"));
  EXPECT_THAT(html, HasSubstr("Once &lt;/script&gt;"));
  EXPECT_THAT(html, HasSubstr(" upon\n\xef\xbf\xbd\xef\xbf\xbd a time"));
  EXPECT_EQ(html::escaped("\xed\xa0\x80<"), "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd&lt;") << "a surrogate";
  for (const char* raw : {"<moe>", "man<pages>", "</script>", "<!-- -->"}) EXPECT_THAT(html, Not(HasSubstr(raw)));
}

TEST(Report, HasTheFigures) {
  const std::string html = to_html(make());
  EXPECT_THAT(html, HasSubstr("<td>2.00M</td><td>1.50M</td><td>10.0 MFLOPs</td><td>4.00M</td><td>40.0 TFLOPs</td>"));
  EXPECT_THAT(html, HasSubstr("100.00"));
  EXPECT_THAT(html, HasSubstr("<td class=\"better\">-0.0700 ± 0.0200</td>"));
  EXPECT_THAT(html, HasSubstr("title=\"expert 1: 75.00 %\""));
}

TEST(Report, ShowsHeldOutTextsBesideOwnOnesOfTheSameName) {
  Report report = make();
  for (ReportRun& run : report.runs)
    run.domains.push_back({.name = "books", .held_out = true, .nll = std::log(300.0), .bits_per_byte = 2.5});
  report.comparisons.push_back({.baseline = "dense",
                                .model = "<moe>",
                                .domain = "books",
                                .held_out = true,
                                .difference = {.difference = 0.03, .standard_error = NAN, .documents = 1}});
  const std::string html = to_html(report);
  EXPECT_THAT(html, HasSubstr("<tr><th>books</th><td class=\"best\">100.00</td>"));
  EXPECT_THAT(html, HasSubstr("<tr><th>books</th><td class=\"best\">300.00</td>"));
  EXPECT_THAT(html, HasSubstr("<td class=\"better\">-0.0700 ± 0.0200</td>"));
  EXPECT_THAT(html, HasSubstr("<td class=\"\">+0.0300 ± – (unknown)</td>"));
}

TEST(Report, TellsApartValidationSetsOfOneName) {
  const test::TemporaryFolder run;
  const auto domains = [&](const char* valid, const std::string& lines) {
    RunConfig config;
    config.data.train = {"data"};
    FieldList fields = fields_of(config);
    apply_override(std::string("data.valid=") + valid, fields);
    write_file_atomically(run / "config.toml", to_toml(fields));
    write_file_atomically(run / "metrics.jsonl", std::string(kTrainLine) + "\n" + lines);
    std::string names;
    for (const ReportDomain& domain : read_run(run.path(), "run").domains)
      names += fmt::format("{} {} ", domain.name, domain.nll);
    return names;
  };
  std::string other = kValidLine;
  other.replace(other.find("5.25"), 4, "6.5");
  EXPECT_EQ(domains("[\"a/books\", \"b/books\"]", std::string(kValidLine) + "\n" + other + "\n"),
            "books 5.25 books (2) 6.5 ");
  EXPECT_EQ(domains("[\"a/books\", \"b/books\"]",
                    changed(kValidLine, "books", "a/books") + changed(other, "books", "b/books")),
            "a/books 5.25 b/books 6.5 ");
}

TEST(Report, DrawsChartsThatFetchNothing) {
  const std::string html = to_html(make());
  if (html.find("gnuplot is not installed") != html.npos) GTEST_SKIP() << "gnuplot is not installed";
  size_t charts = 0;
  for (size_t at = html.find("<svg"); at != html.npos; at = html.find("<svg", at + 1)) ++charts;
  EXPECT_EQ(charts, 2u + 2u + 3u + 2u);  // training loss, validation, rate/norm/speed, entropy and busiest fifth
  EXPECT_THAT(html, HasSubstr("No choice was dropped in training."));
  EXPECT_THAT(html, Not(HasSubstr("<script")));
  EXPECT_THAT(html, Not(HasSubstr("src=")));
  EXPECT_THAT(html, Not(HasSubstr("url(")));
}

TEST(Report, SaysThatThereAreNoChartsWithoutGnuplot) {
  const std::string html = to_html(make(), "no-such-program");
  EXPECT_THAT(html, HasSubstr("No charts: no-such-program is not installed"));
  EXPECT_THAT(html, Not(HasSubstr("<svg")));
  EXPECT_THAT(html, HasSubstr("<h2>Perplexity</h2>"));
  EXPECT_THAT(to_html(make(), "false"), HasSubstr("No charts: false failed"));
}

TEST(Report, TakesEmptyRunsAndPointsThatAreNotFinite) {
  Report report = make();
  report.runs[0].metrics = {};
  for (TrainPoint& point : report.runs[1].metrics.train) point.loss = std::numeric_limits<double>::quiet_NaN();
  EXPECT_THAT(to_html(report), HasSubstr("</html>"));
  EXPECT_THAT(to_html(Report{}), HasSubstr("</html>"));
}

}  // namespace
}  // namespace troupe
