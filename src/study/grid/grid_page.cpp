#include "study/grid/grid_page.h"

#include <fmt/format.h>

#include "io/atomic_file.h"
#include "study/figures.h"
#include "study/html.h"

namespace troupe {
namespace {

namespace fs = std::filesystem;

std::string html_table(const ReportSection& section) {
  std::vector<std::string> header;
  for (const std::string& cell : section.table.front()) header.push_back(html::escaped(cell));
  html::Table table(section.title, header);
  for (size_t r = 1; r < section.table.size(); ++r) {
    table.row(html::escaped(section.table[r].front()));
    for (size_t c = 1; c < section.table[r].size(); ++c) table.cell(html::escaped(section.table[r][c]));
  }
  return table.html();
}

std::string markdown_cell(std::string text) {
  for (size_t at = text.find('|'); at != text.npos; at = text.find('|', at + 2)) text.insert(at, "\\");
  return text;
}

std::string markdown_table(const std::vector<std::vector<std::string>>& rows) {
  std::string out;
  for (size_t r = 0; r < rows.size(); ++r) {
    out += "|";
    for (const std::string& cell : rows[r]) out += " " + markdown_cell(cell) + " |";
    out += "\n";
    if (r == 0) {
      out += "|---|";
      for (size_t c = 1; c < rows[r].size(); ++c) out += "--:|";
      out += "\n";
    }
  }
  return out + "\n";
}

// Of a figure by itself: colours that hold without a page around it, and beside it which line is which.
std::string standalone(std::string svg, const std::vector<std::string>& lines) {
  constexpr int kWidth = 400, kWider = 530;  // as charts are drawn, and with names beside them
  const auto replace = [&](const std::string& from, const std::string& to) {
    if (const size_t at = svg.find(from); at != svg.npos) svg.replace(at, from.size(), to);
  };
  const size_t open = svg.find("<svg");
  if (open == svg.npos) return svg;
  std::string head = " style=\"background:#fdfdfc;color:#1d2125;font-family:sans-serif\"";
  if (svg.find("xmlns=") == svg.npos) head += " xmlns=\"http://www.w3.org/2000/svg\"";
  svg.insert(open + 4, head);
  if (!lines.empty()) {
    replace(fmt::format("width=\"{}\"", kWidth), fmt::format("width=\"{}\"", kWider));
    replace(fmt::format("viewBox=\"0 0 {} ", kWidth), fmt::format("viewBox=\"0 0 {} ", kWider));
  }
  std::string legend;
  for (size_t i = 0; i < lines.size(); ++i)
    legend += fmt::format(
        "<g transform=\"translate({} {})\"><path d=\"M0 0h28\" stroke=\"{}\" stroke-width=\"2\" stroke-dasharray=\"{}\"/>"
        "<path d=\"{}\" transform=\"translate(14 0)\" fill=\"{}\"/><text x=\"34\" y=\"4\" font-size=\"12\" "
        "fill=\"currentColor\">{}</text></g>",
        kWidth + 2, 20 + 18 * i, palette(i), dashes(i), marker(i), palette(i), html::escaped(lines[i]));
  if (const size_t end = svg.rfind("</svg>"); end != svg.npos) svg.insert(end, legend);
  return "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n" + svg + "\n";
}

std::string to_markdown(const std::string& title, const std::vector<ReportSection>& sections, const fs::path& figures) {
  std::vector<Chart> charts;
  for (const ReportSection& section : sections)
    for (const Chart& chart : section.charts) {
      charts.push_back(chart);
      for (Series& series : charts.back().series)
        if (series.color < section.lines.size()) series.name = section.lines[series.color];
    }
  const DrawnCharts drawn = draw_charts(charts);
  std::string out = "# " + title + "\n\n";
  size_t next = 0;
  for (const ReportSection& section : sections) {
    out += "## " + section.title + "\n\n";
    for (const std::string& text : section.text) out += text + "\n\n";
    for (const Chart& chart : section.charts) {
      const size_t number = next++;
      if (!drawn.svg) {
        out += fmt::format("(No figure \"{}\": {}.)\n\n", chart.title, drawn.reason);
        continue;
      }
      const std::string file = fmt::format("figure-{:02}.svg", number + 1);
      write_file_atomically(figures / file, standalone((*drawn.svg)[number], section.lines));
      out += fmt::format("![{}: {}](figures/{})\n\n", section.title, chart.title, file);
    }
    if (section.table.size() > 1) out += markdown_table(section.table);
  }
  return out;
}

std::string to_html(const std::string& title, const std::vector<ReportSection>& sections) {
  std::string out;
  for (const ReportSection& section : sections) {
    out += "<h2>" + html::escaped(section.title) + "</h2>\n";
    for (const std::string& text : section.text) out += html::paragraph(text);
    if (!section.charts.empty()) {
      Figures figures;
      figures.section({}, section.lines);
      for (const Chart& chart : section.charts) figures.add(chart);
      out += figures.html("gnuplot", {}, {});
    }
    if (section.table.size() > 1) out += html_table(section);
  }
  return html::page(title, out);
}

constexpr const char* kTitle = "How much compute does sparsity save?";

}  // namespace

void write_grid_report(const fs::path& out, const std::vector<ReportSection>& sections) {
  write_file_atomically(out / "report.html", to_html(kTitle, sections));
  write_file_atomically(out / "report.md", to_markdown(kTitle, sections, out / "figures"));
}

}  // namespace troupe
