#include "study/chart.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "temporary_folder.h"

namespace troupe {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

std::vector<Chart> two_charts() {
  return {{.x_label = "tokens", .y_label = "loss", .series = {{.x = {1, 2}, .y = {3, 4}, .error = {}}}},
          {.x_label = "FLOPs", .y_label = "bits", .series = {{.x = {1, 10}, .y = {2, NAN}, .error = {}}}, .log_x = true}};
}

TEST(Charts, AreOneElementEachInTheirOrder) {
  const DrawnCharts drawn = draw_charts(two_charts());
  if (!drawn.svg && drawn.reason.find("is not installed") != std::string::npos) GTEST_SKIP() << drawn.reason;
  ASSERT_TRUE(drawn.svg) << drawn.reason;
  ASSERT_EQ(drawn.svg->size(), 2u);
  for (const std::string& svg : *drawn.svg) {
    EXPECT_THAT(svg, StartsWith("<svg"));
    EXPECT_EQ(svg.find("</svg>") + 6, svg.size());
    EXPECT_THAT(svg, HasSubstr("currentColor"));
  }
  EXPECT_THAT((*drawn.svg)[0], HasSubstr("tokens"));
  EXPECT_THAT((*drawn.svg)[1], HasSubstr("FLOPs"));
}

// A line needs two points: what has no neighbour is marked, however many points the series has.
TEST(Charts, MarkPointsThatStandAlone) {
  Series lone{.x = {}, .y = {}, .error = {}};
  for (int i = 0; i < 60; ++i) lone.x.push_back(i), lone.y.push_back(i == 30 ? 2.0 : NAN);
  Series line = lone;
  for (double& y : line.y) y = 2.0 + (&y - line.y.data());
  const auto chart = [](const Series& series) { return Chart{.x_label = "x", .y_label = "y", .series = {series}}; };
  const DrawnCharts drawn = draw_charts({chart(lone), chart(line), chart({.x = {5}, .y = {3}, .error = {}})});
  if (!drawn.svg && drawn.reason.find("is not installed") != std::string::npos) GTEST_SKIP() << drawn.reason;
  ASSERT_TRUE(drawn.svg) << drawn.reason;
  const auto is_marked = [&](size_t i) {
    const std::string& svg = (*drawn.svg)[i];
    return svg.find("href='#gpPt", svg.find("</defs>")) != svg.npos;
  };
  EXPECT_TRUE(is_marked(0));
  EXPECT_FALSE(is_marked(1));
  EXPECT_TRUE(is_marked(2));
}

TEST(Charts, SayWhyThereAreNone) {
  EXPECT_EQ(draw_charts(two_charts(), "no-such-gnuplot").reason,
            "no-such-gnuplot is not installed (Debian: gnuplot-nox)");
  const test::TemporaryFolder folder;
  const auto drawn_by = [&](const std::string& script) {
    const std::filesystem::path program = folder / "plot";
    std::ofstream(program) << "#!/bin/sh\ncat >/dev/null\n" << script << "\n";
    std::filesystem::permissions(program, std::filesystem::perms::owner_all);
    const DrawnCharts drawn = draw_charts(two_charts(), program.string());
    EXPECT_FALSE(drawn.svg);
    return drawn.reason;
  };
  EXPECT_THAT(drawn_by("echo no memory >&2; exit 1"), testing::EndsWith("plot failed: no memory"));
  EXPECT_THAT(drawn_by("echo '<svg></svg>'"), testing::EndsWith("plot failed: it drew 1 of 2 charts"));
}

}  // namespace
}  // namespace troupe
