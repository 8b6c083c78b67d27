#include "study/chart.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <filesystem>

#include "io/atomic_file.h"

extern char** environ;

namespace troupe {
namespace fs = std::filesystem;
namespace {

// Middle tones that read on white and on near-black.
const std::array<std::string, 8> kPalette = {"#3b82c4", "#d9822b", "#3f9c5a", "#9467bd",
                                             "#c8504f", "#2a9d9d", "#a08030", "#7f7f7f"};
// gnuplot writes this colour where the page's text colour is wanted.
constexpr const char* kText = "#010203";

class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string name = (fs::temp_directory_path() / "troupe-charts-XXXXXX").string();
    if (::mkdtemp(name.data())) path_ = name;
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    if (!path_.empty()) fs::remove_all(path_, ignored);
  }
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

bool drawable(double x, double y) { return std::isfinite(x) && std::isfinite(y); }

// The y range that shows everything but the first twentieth of every series.
std::string clipped_range(const Chart& chart) {
  double low = INFINITY, high = -INFINITY;
  for (const Series& series : chart.series)
    for (size_t i = series.y.size() / 20; i < series.y.size(); ++i)
      if (drawable(series.x[i], series.y[i])) low = std::min(low, series.y[i]), high = std::max(high, series.y[i]);
  if (!(low < high)) return "[*:*]";
  const double margin = 0.03 * (high - low);
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

std::string script_of(const std::vector<Chart>& charts, const fs::path& folder) {
  constexpr size_t kMostPointsWithDots = 40;
  std::string script;
  for (size_t c = 0; c < charts.size(); ++c) {
    const Chart& chart = charts[c];
    script += fmt::format(
        "reset\nset terminal svg size {1} noenhanced font 'sans-serif,12'\nset border 3 lc rgb '{0}'\n"
        "set tics nomirror textcolor rgb '{0}'\nset grid ytics\nset key off\nset xrange [0:*]\nset autoscale xfixmax\n",
        kText, chart.small ? "400,230" : "560,280");
    script += fmt::format("set output '{}/{}.svg'\n", folder.string(), c);
    script += fmt::format("set xlabel '{}' textcolor rgb '{}'\n", chart.x_label, kText);
    script += fmt::format("set ylabel '{}' textcolor rgb '{}'\n", chart.y_label, kText);
    script += fmt::format("set yrange {}\n", chart.clip_start  ? clipped_range(chart)
                                             : chart.from_zero ? "[0:*]"
                                                               : "[*:*]");
    if (chart.log_x) script += log_range(chart);
    std::string plots;
    if (std::isfinite(chart.level)) plots = fmt::format("{} with lines dt 3 lw 1.2 lc rgb '{}'", chart.level, kText);
    bool any = false;
    for (size_t s = 0; s < chart.series.size(); ++s) {
      const Series& series = chart.series[s];
      script += fmt::format("$s{} << EOD\n", s);
      for (size_t i = 0; i < series.x.size(); ++i) {
        any |= drawable(series.x[i], series.y[i]);
        const double error = i < series.error.size() && std::isfinite(series.error[i]) ? series.error[i] : 0.0;
        script +=
            drawable(series.x[i], series.y[i]) ? fmt::format("{} {} {}\n", series.x[i], series.y[i], error) : "\n";
      }
      script += "EOD\n";
      const char* style = series.x.size() <= kMostPointsWithDots ? "linespoints pt 7 ps 0.4" : "lines";
      plots += fmt::format("{}$s{} using 1:2 with {} lw 1.6 lc rgb '{}'", plots.empty() ? "" : ", ", s, style,
                           palette(series.color));
      if (!series.error.empty())
        plots +=
            fmt::format(", $s{} using 1:2:3 with yerrorbars pt 7 ps 0.4 lw 1.2 lc rgb '{}'", s, palette(series.color));
    }
    script += any ? "plot " + plots + "\n" : "set xrange [0:1]\nset yrange [0:1]\nplot NaN\n";
  }
  return script + "unset output\n";
}

// Runs `program script`; "" or why it failed.
std::string run(const std::string& program, const fs::path& script, const fs::path& messages) {
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
  ::posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, messages.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
  std::string name = program, argument = script.string();
  char* arguments[] = {name.data(), argument.data(), nullptr};
  pid_t child = 0;
  const int error = ::posix_spawnp(&child, name.c_str(), &actions, nullptr, arguments, environ);
  ::posix_spawn_file_actions_destroy(&actions);
  if (error != 0)
    return error == ENOENT ? fmt::format("{} is not installed (Debian: gnuplot-nox)", program) : std::strerror(error);
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return {};
  std::string text = read_file(messages);
  text.erase(text.find_last_not_of(" \n") + 1);
  return fmt::format("{} failed: {}", program, text);
}

void replace_all(std::string& text, std::string_view from, std::string_view to) {
  for (size_t at = text.find(from); at != text.npos; at = text.find(from, at + to.size()))
    text.replace(at, from.size(), to);
}

// Drops what a page has once, and lets its colour in.
std::string for_page(std::string svg) {
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
  return svg;
}

}  // namespace

const std::string& palette(size_t color) { return kPalette[color % kPalette.size()]; }

DrawnCharts draw_charts(const std::vector<Chart>& charts, const std::string& gnuplot) {
  const TemporaryFolder folder;
  if (folder.path().empty()) return {.svg = {}, .reason = "no temporary folder could be made"};
  const fs::path script = folder.path() / "charts.gp";
  write_file_atomically(script, script_of(charts, folder.path()));
  if (const std::string reason = run(gnuplot, script, folder.path() / "messages"); !reason.empty())
    return {.svg = {}, .reason = reason};
  DrawnCharts drawn{.svg = std::vector<std::string>(), .reason = {}};
  for (size_t c = 0; c < charts.size(); ++c)
    drawn.svg->push_back(for_page(read_file(folder.path() / fmt::format("{}.svg", c))));
  return drawn;
}

}  // namespace troupe
