// The charts of a report as HTML: losses over tokens and over compute, training, routing.
#pragma once

#include <string>

#include "study/report.h"

namespace troupe {

// Sections with their headings. Without gnuplot one that says so.
std::string charts_html(const Report& report, const std::string& gnuplot);

}  // namespace troupe
