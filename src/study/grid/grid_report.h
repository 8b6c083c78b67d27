// What a grid's results say, in words, tables and figures: one list of sections, written as a page (HTML,
// docs/report.md has its rules) and as Markdown with the figures as files beside it.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "study/chart.h"
#include "study/grid/factors.h"
#include "study/grid/grid_tables.h"

namespace troupe {

struct ReportSection {
  std::string title;
  std::vector<std::string> text;                // paragraphs
  std::vector<std::vector<std::string>> table;  // first row: header; none: no table
  std::vector<std::string> lines;               // names of the charts' lines, in the order of the palette
  std::vector<Chart> charts;
};

// `unfinished` runs of the grid are still to come.
std::vector<ReportSection> grid_report(const GridResults& results, const Factors& factors, const Factors& by_tasks,
                                       int64_t unfinished);

// The factors to quote, a family a row: for the terminal.
std::vector<std::vector<std::string>> quoted_factors(const GridResults& results, const Factors& factors);

std::string to_html(const std::string& title, const std::vector<ReportSection>& sections,
                    const std::string& gnuplot = "gnuplot");

// report.html, report.md and figures/*.svg; without gnuplot both say so, and have tables alone.
void write_grid_report(const std::filesystem::path& out, const std::vector<ReportSection>& sections);

}  // namespace troupe
