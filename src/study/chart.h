// Line charts as SVG, drawn by gnuplot and made to follow the page's colours.
#pragma once

#include <cmath>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace troupe {

struct Series {
  std::vector<double> x, y;       // points that are not finite leave a gap
  std::vector<double> error;      // half intervals, one per point; empty: none are drawn
  std::vector<double> low, high;  // intervals in their place that need not be even; what is not finite has none
  size_t color = 0;               // index into the page's palette, dashes and shapes of points
  std::string name = {};          // for the chart's description
};

struct Chart {
  std::string title;             // text
  std::string x_label, y_label;  // constants of ours: they reach gnuplot's script
  std::vector<Series> series;
  bool clip_start = false;  // leave the steepest first points out of the frame (charts of losses)
  bool from_zero = false;   // the y axis starts at 0
  bool log_x = false;       // x is compared by ratios; points of several series at one x are set apart
  int64_t rows = 0;         // x counts rows from 1 to this: whole numbers alone; 0: no rows
  double level = NAN;       // a dotted line across, if finite
};

const std::string& palette(size_t color);  // "#3b82c4"; wraps around, as does
const std::string& dashes(size_t color);   // "7 4", or "none", as does
const std::string& marker(size_t color);   // an SVG path around (0, 0), 10 units across: the shape of its points

// One SVG element a chart, without XML header, in the page's text colour, with a title and a description (where each
// line starts and ends) for those who do not see it. nullopt and the reason if gnuplot is missing
// or fails. Names of runs and data never reach gnuplot.
struct DrawnCharts {
  std::optional<std::vector<std::string>> svg;
  std::string reason;
};
DrawnCharts draw_charts(const std::vector<Chart>& charts, const std::string& gnuplot = "gnuplot");

}  // namespace troupe
