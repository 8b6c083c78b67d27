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
  ASSERT_EQ(history.train[0].moe.size(), 1u);
  EXPECT_THAT(history.train[0].moe[0].load_E, ::testing::ElementsAre(0.25, 0.75));
  ASSERT_EQ(history.valid.size(), 1u);
  EXPECT_EQ(history.valid[0].data, "books");
}

TEST(MetricsHistory, KnowsTheTokensOfAStepBetweenLines) {
  MetricsHistory history;
  history.train = {StepLine{}, StepLine{}};
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
            "metrics.jsonl:1: step: expected a count, got 1.5");
  EXPECT_EQ(error_of(changed(kTrainLine, "[0.25,0.75]", "1")), "metrics.jsonl:1: moe[0].load: expected a list, got 1");
  EXPECT_EQ(error_of(changed(kValidLine, "\"books\"", "3")), "metrics.jsonl:1: data: expected a string, got 3");
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

// Documents of 100 tokens whose nll is `nll` per token, a little more or less in turn.
DocumentScores documents(double nll, double spread = 0.0) {
  DocumentScores scores;
  for (int i = 0; i < 9; ++i) scores.emplace_back(100 * nll + (i - 4) * spread, 100);
  return scores;
}

ModelResult make_model(const std::string& name, double nll) {
  const bool moe = name != "dense";
  ModelResult run{.name = name};
  run.params = 2'000'000, run.active_params = moe ? 1'500'000 : 2'000'000;
  run.flops_per_token = 1e7, run.tokens = 4'000'000, run.seconds = 100, run.step = run.steps = 600;
  run.config.model.num_layers = 2, run.config.model.moe.num_experts = moe ? 2 : 0;
  for (int i = 1; i <= 60; ++i) {
    StepLine line;
    line.step = 10 * i, line.tokens = 100'000 * i, line.loss = 4 + 4.0 / i, line.lr = 1e-3, line.grad_norm = 1;
    line.tokens_per_s = 4e4;
    if (moe) {
      RouterLine router;
      router.layer = 1, router.load_E = {0.25, 0.75}, router.entropy = 0.6, router.top20 = 0.75;
      line.moe.push_back(router);
    }
    run.metrics.train.push_back(line);
    if (i % 20 == 0) {
      ValidLine valid;
      valid.step = 10 * i, valid.tokens = 1, valid.data = "books", valid.nll = 5, valid.ppl = 148;
      run.metrics.valid.push_back(valid);
    }
  }
  DomainResult books{.name = "books", .in_domain = true, .documents = documents(nll, moe ? 2.0 : 1.0), .load_LE = {}};
  books.nll = nll, books.bits_per_byte = 1.5, books.tokens = 900;
  DomainResult pages{.name = "man<pages>", .held_out = true, .documents = {}, .load_LE = {}};
  pages.nll = std::log(200.0);
  if (moe) books.load_LE = {{1, 3}}, pages.load_LE = {{4, 0}};
  run.domains = {books, pages};
  run.samples = {{.prompt = "Once </script>", .text = " upon\n\x01\xff a time", .finish = "length"}};
  run.config_text = "[model]\n# <!-- -->\n";
  return run;
}

Report make() {
  Report report{.title = "A <b> & \"c\"", .notes = {"note's"}};
  report.models = {make_model("dense", std::log(100.0)), make_model("<moe>", std::log(100.0) - 0.07)};
  report.comparisons = compare_to_first(report.models);
  report.scored = "all of each set";
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

TEST(Report, PutsSamplesOfOnePromptSideBySide) {
  Report report = make();
  for (ModelResult& model : report.models)
    model.samples = {{.prompt = "A", .text = "", .finish = ""}, {.prompt = "B", .text = "", .finish = ""}};
  report.models[1].samples.push_back({.prompt = "C", .text = "", .finish = ""});
  std::string order;
  for (const auto& [model, sample] : samples_by_prompt(report.models)) order += model->name + sample->prompt + " ";
  EXPECT_EQ(order, "denseA <moe>A denseB <moe>B <moe>C ");
  EXPECT_THAT(to_html(report), testing::ContainsRegex("<cite>dense</cite><b>A</b>[^\n]*\n[^\n]*&lt;moe&gt;</cite><b>A</b>"));
}

TEST(Report, HasTheFigures) {
  const std::string html = to_html(make());
  EXPECT_THAT(html, HasSubstr("<td>2.00M</td><td>1.50M</td><td>10.0 MFLOPs</td><td>4.00M</td><td>40.0 TFLOPs</td>"));
  EXPECT_THAT(html, HasSubstr("100.00"));
  // Differences of 0.07 nats and -0.04, -0.03, ... 0.04 around them: s / sqrt(9) = 0.0091, t(8) = 2.306.
  EXPECT_THAT(html, HasSubstr("<td class=\"better\">-0.0700 ± 0.0211 <small>better</small></td>"));
  EXPECT_THAT(html, HasSubstr("expert 1: 75.00 %"));
  EXPECT_THAT(html, HasSubstr("even use is 50.00 %"));
}

// More experts than fit the page's width stand in several tables.
TEST(Report, CutsHeatMapsOfManyExperts) {
  Report report = make();
  EXPECT_THAT(to_html(report), Not(HasSubstr("experts 0 to")));
  for (DomainResult& domain : report.models[1].domains) domain.load_LE = {std::vector<int64_t>(70, 1)};
  const std::string html = to_html(report);
  for (const char* part :
       {", experts 0 to 31\"", ", experts 32 to 63\"", ", experts 64 to 69\"", "<th scope=\"col\">69</th>"})
    EXPECT_THAT(html, HasSubstr(part));
  EXPECT_THAT(html, HasSubstr("man&lt;pages&gt; (held out), expert 69: 1.43 %"));
}

TEST(Report, IsBoldOnlyBeyondTheInterval) {
  Report report = make();
  EXPECT_THAT(to_html(report), HasSubstr("<td class=\"best\">93.24</td>"));
  report.models[1].domains[0].documents = documents(std::log(100.0) - 0.07, 40.0);
  report.comparisons = compare_to_first(report.models);
  const std::string html = to_html(report);
  EXPECT_THAT(html, Not(HasSubstr("class=\"best\"")));
  EXPECT_THAT(html, Not(HasSubstr("Bold:")));
  EXPECT_THAT(html, HasSubstr("<small>undecided</small>"));
}

TEST(Report, ClaimsInDomainOnlyOfTextsThatAre) {
  Report report = make();
  EXPECT_THAT(to_html(report), HasSubstr("in domain"));
  for (ModelResult& model : report.models) model.domains[0].in_domain = false;
  EXPECT_THAT(to_html(report), Not(HasSubstr("in domain")));
  EXPECT_THAT(to_html(report), HasSubstr(">validation sets</th>"));
}

TEST(Report, ComparesOnlyTheSameDocuments) {
  Report report = make();
  report.models[1].domains[0].documents.pop_back();
  report.comparisons = compare_to_first(report.models);
  EXPECT_TRUE(report.comparisons.empty());
  EXPECT_THAT(to_html(report), HasSubstr("No differences: the models were not scored on the same documents"));
  report.models[1].domains[0].documents.emplace_back(1.0, 99);
  EXPECT_TRUE(compare_to_first(report.models).empty()) << "as many documents, of other lengths";
}

TEST(Report, SaysWhatTheIntervalHolds) {
  EXPECT_THAT(to_html(make()), HasSubstr("over the documents of these two checkpoints"));
}

TEST(Report, MarksUnfinishedRunsAndDisturbedTimes) {
  Report report = make();
  EXPECT_THAT(to_html(report), Not(HasSubstr("nfinished")));
  EXPECT_THAT(to_html(report), Not(HasSubstr("half the median speed")));
  report.models[0].steps = 1000;
  for (int i = 20; i < 26; ++i) report.models[1].metrics.train[static_cast<size_t>(i)].tokens_per_s = 1e4;
  const std::string html = to_html(report);
  EXPECT_THAT(html, HasSubstr("dense<span class=\"mark\"> (unfinished)</span>"));
  EXPECT_THAT(html, HasSubstr("dense is at step 600 of 1000"));
  EXPECT_THAT(html, HasSubstr("&lt;moe&gt;: 6 of 59 logging intervals ran at less than half the median speed, the slowest at 25 %"));
}

TEST(Report, ShowsTheSpreadOverSeeds) {
  Report report = make();
  std::vector<std::vector<ModelResult>> by_seed(3, report.models);
  by_seed[1][1].domains[0].nll -= 0.02, by_seed[2][1].domains[0].nll += 0.02;
  report.seeds = spread_over_seeds(by_seed), report.seed_list = {1, 2, 3};
  const std::string html = to_html(report);
  EXPECT_THAT(html, HasSubstr("<h2>Over seeds</h2>"));
  EXPECT_THAT(html, HasSubstr("4.5352 (s 0.0200)"));
  // t(2) = 4.303 times 0.02 / sqrt(3).
  EXPECT_THAT(html, HasSubstr("<td class=\"better\">-0.0700 ± 0.0497</td>"));
  EXPECT_THAT(to_html(make()), Not(HasSubstr("Over seeds")));
}

TEST(Report, ShowsHeldOutTextsBesideOwnOnesOfTheSameName) {
  Report report = make();
  for (size_t m = 0; m < 2; ++m) {
    DomainResult books{.name = "books", .held_out = true, .documents = {{600.0 + static_cast<double>(m), 100}}, .load_LE = {}};
    books.nll = std::log(300.0), books.bits_per_byte = 2.5;
    report.models[m].domains.push_back(books);
  }
  report.comparisons = compare_to_first(report.models);
  const std::string html = to_html(report);
  EXPECT_THAT(html, HasSubstr("<tr><th scope=\"row\">books</th><td>100.00</td><td class=\"best\">93.24</td>"));
  EXPECT_THAT(html, HasSubstr("<tr><th scope=\"row\">books</th><td>300.00</td><td>300.00</td>"));
  EXPECT_THAT(html, HasSubstr("<td>+0.0100 <small>unknown</small></td>")) << "one document has no interval";
}

TEST(Report, IsReadableByEveryone) {
  const std::string html = to_html(make());
  EXPECT_THAT(html, HasSubstr("<html lang=\"en\">"));
  EXPECT_THAT(html, Not(HasSubstr("<th>"))) << "every header cell has a scope";
  const auto count = [&](const std::string& what) {
    size_t found = 0;
    for (size_t at = html.find(what); at != html.npos; at = html.find(what, at + 1)) ++found;
    return found;
  };
  EXPECT_EQ(count("<table"), count("<caption"));
  EXPECT_EQ(count("<svg role=\"img\"><title>") + count("<svg role=\"img\" "), count("<figure>"));
  EXPECT_EQ(count("<title>") - 1, count("<figure>"));
  EXPECT_EQ(count("<desc>"), count("<figure>"));
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
    for (const DomainResult& domain : read_run(run.path(), "run").domains)
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
  for (size_t at = html.find("<svg role"); at != html.npos; at = html.find("<svg role", at + 1)) ++charts;
  EXPECT_EQ(charts, 2u + 2u + 3u + 2u);  // training loss, validation, rate/norm/speed, entropy and busiest fifth
  EXPECT_THAT(html, HasSubstr("No choice was dropped in training."));
  EXPECT_THAT(html, Not(HasSubstr("<script")));
  EXPECT_THAT(html, Not(HasSubstr("src=")));
  EXPECT_THAT(html, Not(HasSubstr("url(")));
}

TEST(Report, SaysThatThereAreNoChartsWithoutGnuplot) {
  const std::string html = to_html(make(), "no-such-program");
  EXPECT_THAT(html, HasSubstr("No charts: no-such-program is not installed"));
  EXPECT_THAT(html, Not(HasSubstr("<svg role")));
  EXPECT_THAT(html, HasSubstr("<h2>Perplexity</h2>"));
  EXPECT_THAT(to_html(make(), "false"), HasSubstr("No charts: false failed"));
}

TEST(Report, TakesEmptyRunsAndPointsThatAreNotFinite) {
  Report report = make();
  report.models[0].metrics = {};
  for (StepLine& point : report.models[1].metrics.train) point.loss = std::numeric_limits<double>::quiet_NaN();
  EXPECT_THAT(to_html(report), HasSubstr("</html>"));
  EXPECT_THAT(to_html(Report{}), HasSubstr("</html>"));
}

}  // namespace
}  // namespace troupe
