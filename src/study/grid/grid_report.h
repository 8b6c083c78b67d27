// What a grid's results say, in words, tables and figures: a list of sections.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "study/grid/factors.h"
#include "study/grid/grid_page.h"
#include "study/grid/grid_tables.h"

namespace troupe {

// `unfinished` runs of the grid are still to come.
std::vector<ReportSection> grid_report(const GridResults& results, const Factors& factors, const Factors& by_tasks,
                                       int64_t unfinished);

// The factors to quote, a family a row, under a header: for the terminal, too.
std::vector<std::vector<std::string>> quoted_factors(const GridResults& results, const Factors& factors);

}  // namespace troupe
