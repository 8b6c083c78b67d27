// The tables of a report as HTML.
#pragma once

#include <string>

#include "study/report.h"

namespace troupe {

std::string models_table(const Report& report);
std::string domains_table(const Report& report);  // with its heading; "" without domains
std::string load_tables(const Report& report);    // expert load by domain, a heat map a layer; "" without MoE

}  // namespace troupe
