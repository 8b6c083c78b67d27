// The parts of a grid by themselves: which rates are tried, which documents are scored, who has a lock.
#include "study/grid/grid.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <numeric>
#include <set>

#include "data/tokenizer/tokenizer.h"
#include "error_of.h"
#include "io/atomic_file.h"
#include "log_capture.h"
#include "study/csv.h"
#include "study/grid/claim.h"
#include "study/grid/frontier.h"
#include "study/grid/grid_report.h"
#include "study/grid/grid_tables.h"
#include "study/grid/sample.h"
#include "study/grid/trials.h"
#include "temporary_folder.h"

namespace troupe {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

constexpr double kInfinite = std::numeric_limits<double>::infinity();

TEST(Trials, BeginAroundTheFamilysOwnRateAndCanRunAtOnce) {
  EXPECT_THAT(rates_to_try(0.004, 3, {}), ElementsAre(0.004, 0.002, 0.008));
  EXPECT_THAT(rates_to_try(0.004, 3, {{0.002, 3.0}}), ElementsAre(0.004, 0.008));
  EXPECT_THAT(rates_to_try(0.004, 3, {{0.002, 3.0}, {0.004, 2.0}, {0.008, 2.5}}), IsEmpty());
}

TEST(Trials, GoOnBeyondTheEndThatIsBest) {
  const TrialScores upwards = {{0.002, 3.0}, {0.004, 2.0}, {0.008, 1.5}};
  EXPECT_THAT(rates_to_try(0.004, 5, upwards), ElementsAre(0.016));
  TrialScores further = upwards;
  further[0.016] = 1.6;
  EXPECT_THAT(rates_to_try(0.004, 5, further), ElementsAre(0.032));  // the end that is nearer to the best
  further[0.032] = kInfinite;
  EXPECT_THAT(rates_to_try(0.004, 5, further), IsEmpty());
  EXPECT_EQ(best_rate(further).lr, 0.008);
  EXPECT_TRUE(best_rate(further).inside);
  EXPECT_THAT(rates_to_try(0.004, 4, {{0.002, 1.0}, {0.004, 2.0}, {0.008, 3.0}}), ElementsAre(0.001));
}

TEST(Trials, SayWhenTheBestIsAtAnEnd) {
  EXPECT_FALSE(best_rate({{0.002, 1.0}, {0.004, 2.0}, {0.008, 3.0}}).inside);
  EXPECT_FALSE(best_rate({{0.002, kInfinite}, {0.004, kInfinite}, {0.008, 3.0}}).inside);
  EXPECT_EQ(best_rate({{0.002, kInfinite}, {0.004, kInfinite}}).lr, 0.002);
}

TEST(Factors, AreQuotedWithoutAnIntervalWhereReplicatesLeaveTheRange) {
  GridResults results;
  results.grid.families = {{"dense", {}, {}}, {"moe", {}, {}}};
  Factors factors;
  factors.rows = {{.form = "frontier",
                   .domain = kMeanIn,
                   .family = "moe",
                   .measure = "train_flops",
                   .factor = 0.83,
                   .low = 0.62,
                   .high = 0.82,
                   .missing = 0.82}};
  EXPECT_EQ(quoted_factors(results, factors).at(1).back(), "0.83 (open)");
  factors.rows[0].missing = 0.04;
  EXPECT_EQ(quoted_factors(results, factors).at(1).back(), "0.83 (0.62 to 0.82)");
}

std::vector<size_t> indices(const std::vector<CostPoint>& points) {
  std::vector<size_t> result;
  for (const CostPoint& point : points) result.push_back(point.index);
  return result;
}

TEST(Frontier, HoldsWhatNoCheaperPointEqualsOrBeats) {
  const auto frontier = frontier_of({{4, 2.0, 0}, {1, 3.0, 1}, {2, 3.0, 2}, {2, 2.5, 3}, {8, 2.0, 4}, {8, 1.5, 5}});
  EXPECT_THAT(indices(frontier), ElementsAre(1, 3, 0, 5));
  EXPECT_THAT(indices(frontier_of({{1, 3.0, 0}, {1, 2.0, 1}})), ElementsAre(1));  // of one cost the better
  EXPECT_THAT(frontier_of({{kInfinite, 3.0, 0}, {1, std::nan(""), 1}}), IsEmpty());
}

TEST(Frontier, IsJoinedInTheLogarithmOfTheCostAndNeverExtended) {
  const auto frontier = frontier_of({{100, 4.0, 7}, {10000, 3.0, 8}, {40000, 2.0, 9}});
  const auto between = cost_at(frontier, 3.5);
  ASSERT_TRUE(between);
  EXPECT_NEAR(between->cost, 1000.0, 1e-9);
  EXPECT_EQ(between->below, 7u);
  EXPECT_EQ(between->above, 8u);
  const auto exact = cost_at(frontier, 3.0);
  ASSERT_TRUE(exact);
  EXPECT_EQ(exact->cost, 10000.0);
  EXPECT_EQ(exact->below, exact->above);
  for (const double end : {4.0, 2.0}) EXPECT_TRUE(cost_at(frontier, end));
  for (const double outside : {4.0001, 1.9999, static_cast<double>(NAN)}) EXPECT_FALSE(cost_at(frontier, outside));
  EXPECT_FALSE(cost_at({}, 3.0));
}

EvalText text_of(const std::vector<int64_t>& lengths) {
  EvalText text{.name = "t"};
  for (const int64_t length : lengths) {
    for (int64_t i = 0; i < length; ++i) text.ids.push_back(static_cast<int32_t>(text.documents() % 200));
    text.begin.push_back(text.tokens());
    text.document_bytes.push_back(length);
  }
  return text;
}

const Tokenizer& bytes_tokenizer() {
  static const Tokenizer tokenizer = Tokenizer::load(std::string(TROUPE_TEST_DATA) + "/gpt2-bpe");
  return tokenizer;
}

TEST(FixedDocuments, ComeFromAllOverUpToTheLimitInOrder) {
  const EvalText all = text_of(std::vector<int64_t>(100, 10));
  const EvalText some = fixed_documents(all, 205, bytes_tokenizer());
  EXPECT_EQ(some.tokens(), 205);
  EXPECT_EQ(some.documents(), 21);
  EXPECT_TRUE(std::is_sorted(some.ids.begin(), some.ids.end()));
  EXPECT_LT(some.ids.front(), 20);  // not the first 21 documents, nor the last
  EXPECT_GT(some.ids.back(), 80);
  int64_t cut = 0;
  for (size_t d = 0; d + 1 < some.begin.size(); ++d) {
    const int64_t length = some.begin[d + 1] - some.begin[d];
    cut += length == 5;
    EXPECT_TRUE(length == 10 || length == 5) << length;
    EXPECT_EQ(some.document_bytes[d], length);
  }
  EXPECT_EQ(cut, 1);
  EXPECT_EQ(fixed_documents(all, 205, bytes_tokenizer()).ids, some.ids);
  EXPECT_EQ(fixed_documents(all, 0, bytes_tokenizer()).ids, all.ids);
  EXPECT_EQ(fixed_documents(all, 1000, bytes_tokenizer()).ids, all.ids);
}

TEST(Pieces, AreMadeOfFewDocumentsAlone) {
  const EvalText few = cut_into_pieces(text_of({5000, 10}));
  EXPECT_THAT(few.begin, ElementsAre(0, 2048, 4096, 5000, 5010));
  EXPECT_THAT(few.document_bytes, ElementsAre(5000, 0, 0, 10));
  EXPECT_EQ(few.bytes(), 5010);
  EXPECT_EQ(cut_into_pieces(text_of(std::vector<int64_t>(49, 3000))).documents(), 98);
  EXPECT_EQ(cut_into_pieces(text_of(std::vector<int64_t>(50, 3000))).documents(), 50);
}

TEST(Claims, AreForOneAtATime) {
  const test::TemporaryFolder folder;
  const auto thing = folder / "runs" / "a";
  auto mine = try_claim(thing);
  ASSERT_TRUE(mine);
  EXPECT_FALSE(try_claim(thing));
  test::LogCapture log;
  EXPECT_EQ(test::error_of([&] { claim(thing, [] { return true; }); }, ErrorCode::kInterrupted),
            "interrupted while waiting for " + thing.string());
  EXPECT_THAT(log.end(), testing::HasSubstr("which works on " + thing.string()));
  mine.reset();
  EXPECT_TRUE(try_claim(thing));
}

TEST(Csv, QuotesWhatHasToBeAndLeavesTheUnknownOut) {
  DocumentRow row{.run = "a,\"b\"", .domain = "d", .document = 1, .tokens = 2, .nll = 0.1};
  EXPECT_EQ(csv_text(std::vector<DocumentRow>{row}), "run,domain,document,tokens,nll\n\"a,\"\"b\"\"\",d,1,2,0.1\n");
  row.nll = std::nan("");
  EXPECT_EQ(csv_text(std::vector<DocumentRow>{row}), "run,domain,document,tokens,nll\n\"a,\"\"b\"\"\",d,1,2,\n");
}

TEST(TableNames, TellAHeldOutDomainFromOneOfItsName) {
  StudyDomain trained{.name = "a"}, held_out{.name = "a", .held_out = true}, other{.name = "b", .held_out = true};
  EXPECT_THAT(table_names({trained, held_out, other}), ElementsAre("a", "a (held out)", "b"));
  EXPECT_EQ(test::error_of([] { table_names({{.name = "mean_in"}}); }, ErrorCode::kUsage),
            "study.corpus: expected domains with other names than mean_in and mean_out (the means), got mean_in");
}

}  // namespace
}  // namespace troupe
