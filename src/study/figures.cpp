#include "study/figures.h"

#include <fmt/format.h>

#include "study/html.h"

namespace troupe {
namespace {

std::string legend_of(const std::vector<std::string>& names) {
  if (names.empty()) return {};
  std::string out = "<div class=\"legend\">";
  for (size_t i = 0; i < names.size(); ++i)
    out += fmt::format(
        "<span><svg viewBox=\"0 0 32 10\" aria-hidden=\"true\"><path d=\"M0 5h32\" stroke=\"{}\" stroke-width=\"3\" "
        "stroke-dasharray=\"{}\"/><path d=\"{}\" transform=\"translate(16 5)\" fill=\"{}\"/></svg>{}</span>",
        palette(i), dashes(i), marker(i), palette(i), html::escaped(names[i]));
  return out + "</div>\n";
}

}  // namespace

void Figures::section(const std::string& head, const std::vector<std::string>& lines) {
  sections_.push_back({head, lines, charts_.size()});
}

void Figures::add(Chart chart, const std::string& caption) {
  const std::vector<std::string>& lines = sections_.back().lines;
  for (Series& series : chart.series)
    if (series.color < lines.size()) series.name = lines[series.color];
  captions_.push_back("<b>" + html::escaped(chart.title) + "</b>" + caption);
  charts_.push_back(std::move(chart));
}

std::string Figures::html(const std::string& gnuplot, const std::string& heading, const std::string& hint) const {
  const DrawnCharts drawn = draw_charts(charts_, gnuplot);
  if (!drawn.svg) return heading + "<p>No charts: " + html::escaped(drawn.reason) + "." + hint + "</p>\n";
  std::string out;
  for (size_t s = 0; s < sections_.size(); ++s) {
    const size_t begin = sections_[s].first, end = s + 1 < sections_.size() ? sections_[s + 1].first : charts_.size();
    if (begin == end) continue;
    out += sections_[s].head + legend_of(sections_[s].lines) + "<div class=\"charts\">\n";
    for (size_t i = begin; i < end; ++i)
      out += "<figure>" + (*drawn.svg)[i] + "<figcaption>" + captions_[i] + "</figcaption></figure>\n";
    out += "</div>\n";
  }
  return out;
}

}  // namespace troupe
