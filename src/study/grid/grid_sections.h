// The sections of a grid's report, in its order, and what they all look at. Any may come out empty.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "study/grid/factors.h"
#include "study/grid/grid_page.h"
#include "study/grid/grid_tables.h"

namespace troupe {

struct GridView {
  GridView(const GridResults& results, const Factors& factors, const Factors& by_tasks, int64_t unfinished);

  const GridResults& results;
  const Factors &factors, &by_tasks;
  const int64_t unfinished;  // runs
  const TextNames texts;
  const std::vector<MeanPoint> points;
  const GridResults tasks;  // as texts
  const std::vector<MeanPoint> task_points;
  const std::vector<std::string> families;  // the first is the baseline

  const std::string& baseline() const { return families.front(); }
  std::vector<std::string> others() const { return {families.begin() + 1, families.end()}; }
  const GridPoint& point_of(const MeanPoint& mean) const { return results.grid.points[mean.point]; }
  const GridModel& model_of(const MeanPoint& mean) const { return results.grid.models[point_of(mean).model]; }
  const GridModel& model_of(const GridRun& run) const {
    return results.grid.models[results.grid.points[run.point].model];
  }

  // Words for a mean or a domain, and the same where a sentence begins.
  std::string spoken(const std::string& text) const;
  std::string at_start(const std::string& text) const;
};

// "3.21 (2.90 to 3.55)"; "3.21 (open)" without an interval; a dash for nullptr.
std::string factor_text(const FactorRow* row);

namespace grid_sections {

// section_words.cpp
ReportSection answer(const GridView& view);
ReportSection how_sure(const GridView& view);

// section_charts.cpp
ReportSection factors_by_budget(const GridView& view);
ReportSection losses(const GridView& view);
ReportSection losses_by_domain(const GridView& view);
ReportSection factors_by_domain(const GridView& view);

// section_tasks.cpp
ReportSection tasks(const GridView& view);
ReportSection factors_by_task(const GridView& view);

// section_tables.cpp
ReportSection other_costs(const GridView& view);
ReportSection side_by_side(const GridView& view);
ReportSection fixed_tokens(const GridView& view);
ReportSection models(const GridView& view);
ReportSection all_losses(const GridView& view);
ReportSection fits(const GridView& view);
ReportSection rates(const GridView& view);
ReportSection made_by(const GridView& view);

}  // namespace grid_sections
}  // namespace troupe
