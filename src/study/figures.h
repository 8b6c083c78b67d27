// Charts of a page in sections with headings and legends: collected first, drawn by one gnuplot.
#pragma once

#include <string>
#include <vector>

#include "study/chart.h"

namespace troupe {

class Figures {
 public:
  // Opens a section: `head` is HTML above its charts, `lines` names their lines in the order of the palette (text).
  void section(const std::string& head, const std::vector<std::string>& lines);
  // `caption` is HTML after the chart's title. The names of its series are those of the section.
  void add(Chart chart, const std::string& caption = {});
  bool empty() const { return charts_.empty(); }

  // Sections without a chart are left out. Without gnuplot `heading` and a line that says so, with `hint` (HTML).
  std::string html(const std::string& gnuplot, const std::string& heading, const std::string& hint) const;

 private:
  struct Section {
    std::string head;
    std::vector<std::string> lines;
    size_t first = 0;  // chart
  };
  std::vector<Section> sections_;
  std::vector<Chart> charts_;
  std::vector<std::string> captions_;
};

}  // namespace troupe
