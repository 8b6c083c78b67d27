// Sections as a page (HTML, docs/report.md has its rules) and as Markdown with the figures as files beside it.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "study/chart.h"

namespace troupe {

struct ReportSection {
  std::string title;
  std::vector<std::string> text;                // paragraphs
  std::vector<std::vector<std::string>> table;  // first row: header; none: no table
  std::vector<std::string> lines;               // names of the charts' lines, in the order of the palette
  std::vector<Chart> charts;
};

// report.html, report.md and figures/*.svg; without gnuplot both say so, and have tables alone.
void write_grid_report(const std::filesystem::path& out, const std::vector<ReportSection>& sections);

}  // namespace troupe
