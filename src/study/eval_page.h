// Evaluation results of several models as one HTML page: accuracy over training compute and the gain from shots
// (Artetxe et al. 2021, figures 4 and 5), and tables of everything (docs/evaluation.md).
#pragma once

#include <string>

#include "study/eval_results.h"

namespace troupe {

// HTML5, light and dark, no scripts, nothing fetched. Without gnuplot the page says so and has tables only.
std::string to_html(const EvalResults& results, const std::string& title, const std::string& gnuplot = "gnuplot");

}  // namespace troupe
