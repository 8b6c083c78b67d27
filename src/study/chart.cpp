#include "study/chart.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "base/process.h"
#include "study/html.h"

namespace troupe {
namespace {

// Middle tones with a contrast of at least 3 : 1 to the page's white and near-black.
const std::array<std::string, 8> kPalette = {"#3b82c4", "#c8741a", "#3f9c5a", "#9467bd",
                                             "#c8504f", "#2a9292", "#a08030", "#7f7f7f"};
// Lines that lie upon each other are told apart.
const std::array<std::string, 4> kDashes = {"none", "7 4", "2 3", "9 3 2 3"};
const std::array<int, 4> kPoints = {7, 5, 9, 13};  // gnuplot's: disc, square, triangle, diamond
const std::array<std::string, 4> kMarkers = {"M-4.5 0a4.5 4.5 0 1 0 9 0a4.5 4.5 0 1 0 -9 0z", "M-4 -4h8v8h-8z",
                                             "M0 -5L5 4H-5z", "M0 -5L5 0L0 5L-5 0z"};
// gnuplot writes this colour where the page's text colour is wanted.
constexpr const char* kText = "#010203";

bool drawable(double x, double y) { return std::isfinite(x) && std::isfinite(y); }

// Points without a neighbour to draw a line to.
std::vector<size_t> lone_points(const Series& series) {
  const auto at = [&](size_t i) { return i < series.x.size() && drawable(series.x[i], series.y[i]); };
  std::vector<size_t> lone;
  for (size_t i = 0; i < series.x.size(); ++i)
    if (at(i) && !at(i + 1) && (i == 0 || !at(i - 1))) lone.push_back(i);
  return lone;
}

// Whether points stand alone, as in a run that was validated once.
bool has_lines(const Chart& chart) {
  return std::any_of(chart.series.begin(), chart.series.end(), [](const Series& series) {
    return static_cast<size_t>(std::count_if(series.y.begin(), series.y.end(),
                                             [](double y) { return std::isfinite(y); })) > lone_points(series).size();
  });
}

// The x axis of a chart of points alone, with some room behind the last.
std::string roomy_range(const Chart& chart) {
  double high = 0.0;
  for (const Series& series : chart.series)
    for (const double x : series.x) high = std::isfinite(x) ? std::max(high, x) : high;
  return high > 0.0 ? fmt::format("set xrange [0:{}]\n", 1.1 * high) : std::string();
}

// The y range that shows everything but the first twentieth of every series.
std::string clipped_range(const Chart& chart) {
  double low = INFINITY, high = -INFINITY;
  for (const Series& series : chart.series)
    for (size_t i = series.y.size() / 20; i < series.y.size(); ++i)
      if (drawable(series.x[i], series.y[i])) low = std::min(low, series.y[i]), high = std::max(high, series.y[i]);
  if (!(low < high)) return "[*:*]";
  const double margin = (has_lines(chart) ? 0.03 : 0.25) * (high - low);
  return fmt::format("[{}:{}]", low - margin, high + margin);
}

// A logarithmic x axis with some room at both ends.
std::string log_range(const Chart& chart) {
  double low = INFINITY, high = 0.0;
  for (const Series& series : chart.series)
    for (const double x : series.x)
      if (std::isfinite(x) && x > 0.0) low = std::min(low, x), high = std::max(high, x);
  if (high == 0.0) return {};
  low /= 1.5, high *= 1.5;
  std::string tics;
  for (double decade = std::pow(10.0, std::floor(std::log10(low))); decade <= high; decade *= 10.0)
    for (const double digit : {1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 7.0})
      if (digit * decade >= low && digit * decade <= high &&
          (digit == 1.0 || high < 8.0 * low || (high < 300.0 * low && (digit == 2.0 || digit == 5.0))))
        tics += fmt::format("{}{}", tics.empty() ? "" : ", ", digit * decade);
  return fmt::format("set logscale x\nset xtics ({})\nset xrange [{}:{}]\n", tics, low, high);
}

// Of point i; the point itself if it has none.
std::pair<double, double> interval_of(const Series& series, size_t i) {
  const double y = series.y[i];
  if (i < series.error.size() && std::isfinite(series.error[i])) return {y - series.error[i], y + series.error[i]};
  if (i < series.low.size() && std::isfinite(series.low[i]) && std::isfinite(series.high[i]))
    return {series.low[i], series.high[i]};
  return {y, y};
}

// gnuplot's "(7,4)", or 1 for a whole line.
std::string dash_type(size_t color) {
  std::string pattern = dashes(color);
  if (pattern == "none") return "1";
  std::replace(pattern.begin(), pattern.end(), ' ', ',');
  return "(" + pattern + ")";
}

// Around 0, so that the bars of `of` series at one x stand side by side.
double apart(size_t series, size_t of) { return static_cast<double>(series) - 0.5 * static_cast<double>(of - 1); }

std::string script_of(const std::vector<Chart>& charts) {
  constexpr size_t kMostPointsWithDots = 40;
  std::string script;
  for (const Chart& chart : charts) {
    script += fmt::format(
        "reset\nset terminal svg size 400,260 noenhanced font 'sans-serif,14'\nset border 3 lc rgb '{0}'\n"
        "set tics nomirror textcolor rgb '{0}'\nset grid ytics\nset key off\nset xrange [0:*]\nset autoscale xfixmax\n",
        kText);
    script += fmt::format("set xlabel '{}' textcolor rgb '{}'\n", chart.x_label, kText);
    script += fmt::format("set ylabel '{}' textcolor rgb '{}'\n", chart.y_label, kText);
    script += fmt::format("set yrange {}\n", chart.clip_start  ? clipped_range(chart)
                                             : chart.from_zero ? "[0:*]"
                                                               : "[*:*]");
    if (chart.rows > 0) {
      script +=
          fmt::format("set xtics 1,{}\nset xrange [0.5:{}.5]\n", std::max<int64_t>(1, chart.rows / 10), chart.rows);
    } else if (chart.log_x) {
      script += log_range(chart);
    } else if (!has_lines(chart)) {
      script += roomy_range(chart);
    }
    std::string plots;
    if (std::isfinite(chart.level)) plots = fmt::format("{} with lines dt 3 lw 1.2 lc rgb '{}'", chart.level, kText);
    bool any = false;
    for (size_t s = 0; s < chart.series.size(); ++s) {
      const Series& series = chart.series[s];
      const auto x_of = [&](size_t i) {
        return chart.log_x ? series.x[i] * std::pow(1.02, apart(s, chart.series.size())) : series.x[i];
      };
      script += fmt::format("$s{} << EOD\n", s);
      for (size_t i = 0; i < series.x.size(); ++i) {
        any |= drawable(series.x[i], series.y[i]);
        const auto [low, high] = interval_of(series, i);
        script += drawable(x_of(i), series.y[i]) ? fmt::format("{} {} {} {}\n", x_of(i), series.y[i], low, high) : "\n";
      }
      script += "EOD\n";
      const std::vector<size_t> lone = lone_points(series);
      if (!lone.empty()) {
        script += fmt::format("$p{} << EOD\n", s);
        for (const size_t i : lone) script += fmt::format("{} {}\n", x_of(i), series.y[i]);
        script += "EOD\n";
      }
      const int point = kPoints[series.color % kPoints.size()];
      const std::string style =
          series.x.size() <= kMostPointsWithDots ? fmt::format("linespoints pt {} ps 0.5", point) : "lines";
      plots += fmt::format("{}$s{} using 1:2 with {} lw 1.8 dt {} lc rgb '{}'", plots.empty() ? "" : ", ", s, style,
                           dash_type(series.color), palette(series.color));
      if (!lone.empty())
        plots += fmt::format(", $p{} using 1:2 with points pt {} ps 0.9 lc rgb '{}'", s, point, palette(series.color));
      if (!series.error.empty() || !series.low.empty())
        plots += fmt::format(", $s{} using 1:2:3:4 with yerrorbars pt {} ps 0.5 lw 1.2 dt 1 lc rgb '{}'", s, point,
                             palette(series.color));
    }
    script += any ? "plot " + plots + "\n" : "set xrange [0:1]\nset yrange [0:1]\nplot NaN\n";
  }
  return script;
}

void replace_all(std::string& text, std::string_view from, std::string_view to) {
  for (size_t at = text.find(from); at != text.npos; at = text.find(from, at + to.size()))
    text.replace(at, from.size(), to);
}

// Where each line starts and ends.
std::string description_of(const Chart& chart) {
  std::string text = fmt::format("{} over {}.", chart.y_label, chart.x_label);
  for (const Series& series : chart.series) {
    size_t first = 0, last = series.x.size();
    while (first < last && !drawable(series.x[first], series.y[first])) ++first;
    while (last > first && !drawable(series.x[last - 1], series.y[last - 1])) --last;
    if (first == last) continue;
    text += fmt::format(" {}: {:.4g} at {:.4g}", series.name.empty() ? "A line" : series.name, series.y[first],
                        series.x[first]);
    if (last - first > 1) text += fmt::format(", {:.4g} at {:.4g}", series.y[last - 1], series.x[last - 1]);
    text += ".";
  }
  return text;
}

// Drops what a page has once, lets its colour in, and says what is to be seen.
std::string for_page(std::string svg, const Chart& chart) {
  if (const size_t start = svg.find("<svg"); start != svg.npos) svg.erase(0, start);
  const auto cut = [&](std::string_view open, std::string_view close) {
    const size_t begin = svg.find(open), end = svg.find(close, begin);
    if (begin != svg.npos && end != svg.npos) svg.erase(begin, end + close.size() - begin);
  };
  cut("<title>Gnuplot", "</title>");
  cut("<desc>", "</desc>");
  while (svg.find("<title>$") != svg.npos) cut("<title>$", "</title>");
  replace_all(svg, "rgb(  1,   2,   3)", "currentColor");
  replace_all(svg, "rgb(1,2,3)", "currentColor");
  for (const char* color : {" color=\"black\"", " color=\"gray\"", " color=\"white\"", " id=\"gnuplot_canvas\""})
    replace_all(svg, color, "");
  replace_all(svg, "color='white'", "color='transparent'");  // discs behind points with error bars
  if (const size_t open = svg.find('>'); svg.starts_with("<svg") && open != svg.npos) {
    svg.insert(open + 1, "<title>" + html::escaped(chart.title) + "</title><desc>" +
                             html::escaped(description_of(chart)) + "</desc>");
    svg.insert(4, " role=\"img\"");
  }
  return svg;
}

}  // namespace

const std::string& palette(size_t color) { return kPalette[color % kPalette.size()]; }
const std::string& dashes(size_t color) { return kDashes[color % kDashes.size()]; }
const std::string& marker(size_t color) { return kMarkers[color % kMarkers.size()]; }

DrawnCharts draw_charts(const std::vector<Chart>& charts, const std::string& gnuplot) {
  const ProcessResult result = run_program({gnuplot, "-d", "-"}, {}, script_of(charts));
  if (result.status == 127) return {.svg = {}, .reason = gnuplot + " is not installed (Debian: gnuplot-nox)"};
  if (result.status != 0)
    return {.svg = {},
            .reason = fmt::format("{} failed: {}", gnuplot,
                                  result.errors.substr(0, result.errors.find_last_not_of(" \n") + 1))};
  DrawnCharts drawn{.svg = std::vector<std::string>(), .reason = {}};
  constexpr std::string_view kEnd = "</svg>";
  size_t begin = 0;
  for (size_t end; (end = result.output.find(kEnd, begin)) != std::string::npos; begin = end + kEnd.size()) {
    static const Chart kUnasked;
    const size_t number = drawn.svg->size();
    drawn.svg->push_back(for_page(result.output.substr(begin, end + kEnd.size() - begin),
                                  number < charts.size() ? charts[number] : kUnasked));
  }
  if (drawn.svg->size() != charts.size())
    return {.svg = {},
            .reason = fmt::format("{} failed: it drew {} of {} charts", gnuplot, drawn.svg->size(), charts.size())};
  return drawn;
}

}  // namespace troupe
